"""One image through training. Paths but the last are below `workloads/matting/`.

| step | where | value | shape | range |
|---|---|---|---|---|
| pair by stem | `data/indexing.py` | image path, matte path | – | – |
| read | `data/images.py` | `image` uint8 RGB; `matte` uint16 | (H, W, 3); (H, W) | 0–255; 0–65535 |
| augment | `data/augmentation.py` | `image` uint8; `matte` uint16 | (h, w, 3); (h, w) | 0–255; 0–65535 |
| trimap | `data/trimap.py` | `trimap` float32 | (h, w) | {0, 0.5, 1} |
| sample | `data/dataset.py` | tensors | (3, h, w); (1, h, w) twice | image [-1, 1] |
| encode | `network/backbone.py` | `enc2x, enc4x, enc32x` | (B, c, H/n, W/n) for n = 2, 4, 32 | – |
| semantic | `network/branches.py` | `semantic`; `lr8x` | (B, 1, H/16, W/16); (B, c, H/8, W/8) | [0, 1] |
| detail | `network/branches.py` | `detail` | (B, 1, H, W) | [0, 1] |
| fuse | `network/branches.py` | `alpha` | (B, 1, H, W) | [0, 1] |
| loss | `losses.py` | semantic, detail, matte | scalars | at least 0 |
| step | `modnet/training/retrain.py` | weights moved; the loss fell | – | – |
"""

import sys

# OpenVINO (at each import) and nncf send usage statistics with this package; where it cannot be imported, none are.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
