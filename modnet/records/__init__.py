"""What a stage reports: small, frozen, JSON; never a tensor, never a path of one machine."""

from modnet.records.choice import Choice, HostLatencies, TimedForms
from modnet.records.data_check import DataFinding, DatasetCheck, SplitSizes, StoredCheck
from modnet.records.export import ExportRecord, GoldenFile, LayerDecision, LegacyCheck, QuantisationDecision
from modnet.records.networks import (
    BaseRecord,
    Candidate,
    DatasetRecord,
    Failure,
    NetworkScores,
    PrunedTiming,
    RetrainReport,
    RungReport,
    SearchBase,
    Sheet,
)
from modnet.records.nights import Contender, Decision, Found, FrontPoint, Learned, Night, SearchEvent, Trial
from modnet.records.record import FileDigest, Record, StoredFile
from modnet.records.release import (
    Challenge,
    DataOrigin,
    NetworkOrigin,
    Promotion,
    Provenance,
    PruningStep,
    ReleaseRecord,
)
from modnet.records.scores import Complexity, ImageScore, Scored, Scores
from modnet.records.sensitivity import (
    ChannelScores,
    ImageSensitivity,
    Sensitivities,
    SensitivityChoice,
    SensitivityCurve,
    SensitivityQuestion,
    SensitivityReport,
)
from modnet.records.training import EpochReport, ScaleDistribution, TrainingProgress, TrainingReport
