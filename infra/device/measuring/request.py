"""What the agent asks of a child, in one line of JSON, and what the child answers, a line for each stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from infra.device.documents.canonical_json import canonical_json
from infra.device.documents.json_object import JsonObject, parse_json
from infra.device.errors import ContractError, DeviceMissingError, SettingsError

MOST_RUNS = 20_000  # of each kind, so that a report stays below MAX_SENT_BYTES
MAX_REQUEST_BYTES = 1 << 16
COMPARED_ROUNDS = 50  # at most, with the release before: both run once in each

# The stages of the answers, in their order.
RUNTIME = "runtime"  # {text}; it is imported
LOADED = "loaded"  # {load_ms, input_shape, precision, threads}
GOLDEN = "golden"  # {golden: a GoldenCheck}
BEAT = "beat"  # {}; before the first inference, and then at most once a second between two of them
DONE = "done"  # {warm_up_ms, samples_ms, conditions, conditions_after}
COMPARED = "compared"  # {comparison: a Comparison}
NOT_COMPARED = "not_compared"  # {words}
END = "end"  # {}; all that was asked was done
ERROR = "error"  # {kind, words}; instead of END
TOLD_ERRORS = {kind.__name__: kind for kind in (ContractError, DeviceMissingError, SettingsError)}


@dataclass(frozen=True)
class MeasureSettings:
    """How a model is measured.

    Attributes:
        warm_up: inferences that are not counted, 0 to MOST_RUNS, at least: it goes on until the times are stable.
        repeats: inferences that are, 1 to MOST_RUNS.
        threads: for models on the CPU; None leaves them to the runtime.
    """

    warm_up: int = 5
    repeats: int = 50
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuses what no report could hold, before anything is measured.

        Raises:
            SettingsError: says what, got and wanted.
        """
        for name, got, least in (("warm_up", self.warm_up, 0), ("repeats", self.repeats, 1)):
            if not least <= got <= MOST_RUNS:
                raise SettingsError(f"{name}: got {got}, wanted {least} to {MOST_RUNS}")
        if self.threads is not None and self.threads < 1:
            raise SettingsError(f"threads: got {self.threads}, wanted at least 1")


@dataclass(frozen=True)
class Network:
    """The network that a child measures.

    Attributes:
        target: whose network it is; its first word names the device.
        ir_xml: path of the `.xml` on this machine, the `.bin` beside it.
        input_shape: that it must have, batch first; empty for a network that takes any size.
        warm_up, repeats, threads: as `MeasureSettings`.
        golden, tolerance: as `manifest.Golden`, the path on this machine; None: nothing is compared.
        former_id, former_xml: the release before and its IR, to run in turns; None: there is none.
    """

    target: str
    ir_xml: str
    input_shape: tuple[int, ...]
    warm_up: int
    repeats: int
    threads: int | None
    golden: str | None = None
    tolerance: float | None = None
    former_id: str | None = None
    former_xml: str | None = None


@dataclass(frozen=True)
class Request:
    """What one child does: says its runtime, makes sure of its devices, and measures a network.

    Attributes:
        devices: kinds that the runtime must know, as `CPU`.
        present: devices that must be there now, as `MYRIAD`.
        network: to measure; None: none.
    """

    devices: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    network: Network | None = None

    def to_line(self) -> bytes:
        """One line of JSON."""
        return canonical_json(asdict(self)) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Request:
        """The request in a line.

        Raises:
            ContractError: it is none.
        """
        members = parse_json(line, "request", max_bytes=MAX_REQUEST_BYTES)
        return members.read(cls, network=None if members.is_null("network") else _network(members.nested("network")))


def _network(members: JsonObject) -> Network:
    return members.read(Network)
