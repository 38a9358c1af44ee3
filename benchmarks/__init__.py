"""What the project measures of itself. README.md lists the questions; a file, or a folder, answers each.

`inputs` is what they share, `making` makes what the project ships, `results` holds what was measured.
"""

import modnet  # noqa: F401 - before OpenVINO, which sends usage statistics where nobody keeps it from that
