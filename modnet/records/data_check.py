"""What was found when a data set was looked at, before anything learns from it."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from modnet.records.record import Record, StoredFile

BROKEN = "broken files"


class SplitSizes(Record):
    """How many images a split has, and how large those are that can be read, as width × height in pixels."""

    split: str
    images: int = Field(ge=0)
    readable: int = Field(ge=0)
    smallest: str = Field(description="by the number of pixels, as are the others; empty where none can be read")
    median: str
    largest: str


class DataFinding(Record):
    """One thing that is wrong with images of a split."""

    kind: str
    split: str = Field(description="empty where it is wrong with the data set as a whole")
    images: int = Field(ge=0, description="that have it")
    of: int = Field(ge=0, description="images of the split")
    is_error: bool = Field(description="whether a run stops for it; else it is a warning")
    examples: tuple[str, ...] = Field(min_length=1, description="what was found, of the first images")
    wanted: str

    @property
    def amount(self) -> str:
        """As tables have it; empty where it is wrong with the data set as a whole."""
        return f"{self.images} of {self.of}" if self.split else ""

    @property
    def got(self) -> str:
        """The examples, and how many more there are."""
        more = self.images - len(self.examples)
        return "; ".join(self.examples) + (f"; and {more} more" if more > 0 else "")

    @property
    def sentence(self) -> str:
        """What, where, got and wanted."""
        where = f" in {self.split} ({self.amount} images)" if self.split else ""
        return f"{self.kind}{where}: got {self.got}; wanted {self.wanted}"


class DatasetCheck(Record):
    """What a data set holds, and what is wrong with it: errors first."""

    splits: tuple[SplitSizes, ...]
    findings: tuple[DataFinding, ...]

    @property
    def errors(self) -> tuple[DataFinding, ...]:
        """For these a run stops."""
        return tuple(one for one in self.findings if one.is_error)

    @property
    def warnings(self) -> tuple[DataFinding, ...]:
        """With these a run goes on, and shows them in its report."""
        return tuple(one for one in self.findings if not one.is_error)

    @property
    def summary(self) -> str:
        """One line of it."""
        images = sum(one.images for one in self.splits)
        return f"{images} images, {_count(len(self.errors), 'error')}, {_count(len(self.warnings), 'warning')}"

    def allowing(self, max_unreadable: int) -> Self:
        """The same where so many broken files of *fit* are a warning, as a training bears them (`max_unreadable`)."""
        findings = [
            one.model_copy(update={"is_error": False})
            if one.kind == BROKEN and one.split == "fit" and one.images <= max_unreadable
            else one
            for one in self.findings
        ]
        return self.model_copy(update={"findings": tuple(sorted(findings, key=lambda one: not one.is_error))})


class StoredCheck(Record):
    """The check of a published data set, and its page."""

    dataset_id: str
    check: DatasetCheck
    page: StoredFile


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
