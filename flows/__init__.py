"""One compressed model through the pipeline. Each stage is a flow of its own, and `compress` calls them in this order.

| stage | in | out, in the object store |
|---|---|---|
| prepare_dataset | DatasetConfig | `datasets/<dataset_id>/archive-….zip`, `dataset.json` |
| check_dataset (on Ray) | data set | `checks/….json`, `checks/….html` |
| train_baseline | data set, BaselineConfig | `bases/<base_id>/base-….safetensors`, `base.json` |
| prune | base, PruningConfigs | `candidates/<candidate_id>/pruned-….safetensors`, `plan.json`, `candidate.json` |
| retrain (on Ray) | candidates | `candidates/<candidate_id>/retrained-….safetensors`, `retrained.json` |
| evaluate | base, retrained candidates | `scores/….json`, `timed/…`, `latencies/….json`; the winner, and why it won |
| export | winner | `exports/…/{modnet-….onnx, modnet-<target>-….{xml,bin}}`, `export.json` |
| deploy | winner's export | `releases/<release_id>/{…, manifest.json}`, then `targets/<target>/current.json` |
| benchmark | release | `reports/<device>/<release_id>/….json`, sent by the devices |

With a search, `search` takes the places of `prune` and `retrain`, and `trial` that of `deploy`: it signs
`targets/<target>/trials.json`, and `decide` moves the pointer later.

Beside it, `collect` keeps a row of every report and writes the page of the fleet: `fleet/…`.

Names are digests of the question: the same question finds its answer in the store, so a killed run resumes and a
second run of the same question computes nothing. Files of an answer carry a digest of their content as well: two runs
of one question at once never write over what the other's record speaks of.
"""

import tasks  # noqa: F401 - before Prefect is imported: it is asked for no usage statistics
