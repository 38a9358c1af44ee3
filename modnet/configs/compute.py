"""What is asked of the Ray cluster."""

from pydantic import Field

from modnet.config import Config


class ComputeConfig(Config):
    """What is asked of the Ray cluster."""

    base_cpus: int = Field(2, ge=1, le=256, description="Cores for what runs alone: training the base, timing.")
    candidate_cpus: int = Field(1, ge=1, le=256, description="Cores for each candidate. Candidates run side by side.")
    training_gpus: float = Field(
        0, ge=0, le=1, description="GPUs, or a share of one, that each training reserves; 0 trains on the CPU."
    )
    training_memory_gb: float = Field(
        0, ge=0, le=10_000, description="Memory that each training reserves on its node, in GB. 0: none is reserved."
    )
    cluster_scales: bool = Field(
        False,
        description="The cluster adds nodes when work waits. Work that is too large for every node is then waited for; "
        "otherwise it is refused.",
    )
    store_wait_s: float = Field(
        3600, ge=0, le=7 * 24 * 3600, description="How long work waits for a store that does not answer, in seconds."
    )
    timeout_s: float = Field(12 * 3600, gt=0, description="Longest computation of one piece of work, in seconds.")
