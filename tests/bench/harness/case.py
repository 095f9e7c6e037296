"""What a row of the table is made of."""

from dataclasses import dataclass, field


@dataclass
class Measure:
    """One number of a round: `units / seconds` for the key `rate`, else what the worker gives by that key."""

    name: str
    unit: str
    key: str = "rate"
    scale: float = 1.0

    def of(self, round):
        value = round["units"] / round["seconds"] if self.key == "rate" else round[self.key]
        return value * self.scale

    def described(self):
        return {"key": self.key, "name": self.name, "unit": self.unit}


@dataclass
class Ratio:
    """A target: the measure of `one` over that of `other`."""

    one: str
    other: str
    key: str
    least: float | None = None
    most: float | None = None

    def of(self, entries):
        sign, target = ("≥", self.least) if self.least is not None else ("≤", self.most)
        wanted = f"{sign} {target:g} ×"
        if self.one not in entries or self.other not in entries:
            return {"text": f"{self.one} / {self.other}: not measured, target {wanted}", "wanted": wanted, "met": None, "value": None}
        value = entries[self.one]["measures"][self.key]["median"] / entries[self.other]["measures"][self.key]["median"]
        met = value >= target if sign == "≥" else value <= target
        text = f"{self.one} / {self.other}, {self.key}: {value:.2f} × (target {wanted}): {'met' if met else 'MISSED'}"
        return {"text": text, "wanted": wanted, "met": met, "value": value}


@dataclass
class Bound:
    """A target for one contestant's own measure or fact."""

    one: str
    key: str
    unit: str
    least: float | None = None
    most: float | None = None
    fact: bool = False

    def of(self, entries):
        sign, target = ("≥", self.least) if self.least is not None else ("≤", self.most)
        wanted = f"{sign} {target:g} {self.unit}".strip()
        if self.one not in entries:
            return {"text": f"{self.one}, {self.key}: not measured, target {wanted}", "wanted": wanted, "met": None, "value": None}
        entry = entries[self.one]
        value = entry["facts"][self.key] if self.fact else entry["measures"][self.key]["median"]
        met = value >= target if sign == "≥" else value <= target
        text = f"{self.one}, {self.key}: {value:.3g} {self.unit} (target {wanted}): {'met' if met else 'MISSED'}"
        return {"text": text, "wanted": wanted, "met": met, "value": value}


@dataclass
class Case:
    """One comparison. `limit(ceiling, facts)` gives the best value of the first measure that the machine allows, and why."""

    row: int
    title: str
    work: str
    contestants: list
    measures: list
    verdicts: list = field(default_factory=list)
    limit: object = None
    warm_up: bool = True
    most_rounds: int | None = None
