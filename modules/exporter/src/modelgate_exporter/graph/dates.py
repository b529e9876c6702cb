"""Parts of dates, from milliseconds since 1970."""

from __future__ import annotations

from typing import Any

from .build import Graph
from .columns import Col
from .elementwise import DAY, Untraceable, made, tensor


class Parts:
    """`.dt` of a column: dates, or spans of time."""

    def __init__(self, graph: Graph, col: Col) -> None:
        self.graph = graph
        self.col = col
        self.value = tensor(graph, col)

    def part(self, name: str) -> Col:
        """A part as pandas calls it."""
        if self.col.kind == "delta":
            return self._span(name)
        kind: Any = "bool" if name.startswith("is_") else "number"
        if name in ("date", "normalize", "floor_day"):
            return made(self.graph, self._times(self._days(), DAY), (self.col,), "date")
        return made(self.graph, self._part(name), (self.col,), kind)

    def _span(self, name: str) -> Col:
        seconds = self._times(self.value, 1e-3)
        if name == "days":
            return made(self.graph, self._days(), (self.col,))
        if name == "total_seconds":
            return made(self.graph, seconds, (self.col,))
        if name == "seconds":
            rest = self.graph.op("Sub", self.value, self._times(self._days(), DAY))
            return made(self.graph, self._floor(self._times(rest, 1e-3)), (self.col,))
        raise Untraceable(f"it takes .dt.{name} of a span of time")

    def _part(self, name: str) -> str:
        days = self._days()
        if name in ("dayofweek", "weekday", "day_of_week"):
            return self._modulo(self._plus(days, 3.0), 7.0)
        if name in ("hour", "minute", "second"):
            unit, size = {"hour": (3_600_000.0, 24.0), "minute": (60_000.0, 60.0), "second": (1000.0, 60.0)}[name]
            return self._modulo(self._floor(self._over(self.value, unit)), size)
        year, month, day, of_year = self._civil(days)
        simple = {"year": year, "month": month, "day": day, "dayofyear": of_year, "day_of_year": of_year}
        if name in simple:
            return simple[name]
        if name == "quarter":
            return self._plus(self._floor(self._over(self._plus(month, -1.0), 3.0)), 1.0)
        if name == "is_month_start":
            return self._is(day, 1.0)
        if name == "is_month_end":
            return self._is(self._civil(self._plus(days, 1.0))[2], 1.0)
        if name == "is_year_end":
            return self._is(self._civil(self._plus(days, 1.0))[3], 1.0)
        if name == "is_quarter_end":
            _, following, first, _ = self._civil(self._plus(days, 1.0))
            return self.graph.op("Mul", self._is(self._modulo(self._plus(following, -1.0), 3.0), 0.0), self._is(first, 1.0))
        if name == "is_leap_year":
            fourth, hundredth, whole = (self._is(self._modulo(year, size), 0.0) for size in (4.0, 100.0, 400.0))
            return self.graph.op("Add", self.graph.op("Sub", fourth, hundredth), whole)
        if name in ("days_in_month", "daysinmonth"):
            # The 32nd day of a month of 30 days is the second of the next one.
            later = self.graph.op("Add", self.graph.op("Sub", days, day), self.graph.constant([[32.0]]))
            return self._plus(self.graph.op("Neg", self._civil(later)[2]), 32.0)
        if name == "is_year_start":
            return self._is(of_year, 1.0)
        if name == "is_quarter_start":
            first = self._is(self._modulo(self._plus(month, -1.0), 3.0), 0.0)
            return self.graph.op("Mul", first, self._is(day, 1.0))
        if name == "week":
            # The week of the Thursday of the same week.
            thursday = self._plus(self.graph.op("Sub", days, self._modulo(self._plus(days, 3.0), 7.0)), 3.0)
            return self._plus(self._floor(self._over(self._plus(self._civil(thursday)[3], -1.0), 7.0)), 1.0)
        raise Untraceable(f"it takes .dt.{name} of a date")

    def _civil(self, days: str) -> tuple[str, str, str, str]:
        """Year, month, day and day of the year, in years that begin in March."""
        graph = self.graph
        z = self._plus(days, 719_468.0)
        era = self._floor(self._over(z, 146_097.0))
        of_era = graph.op("Sub", z, self._times(era, 146_097.0))
        leap = graph.op("Sub", of_era, self._floor(self._over(of_era, 1460.0)))
        leap = graph.op("Add", leap, self._floor(self._over(of_era, 36_524.0)))
        leap = graph.op("Sub", leap, self._floor(self._over(of_era, 146_096.0)))
        year_of_era = self._floor(self._over(leap, 365.0))
        begun = graph.op("Add", self._times(year_of_era, 365.0), self._floor(self._over(year_of_era, 4.0)))
        begun = graph.op("Sub", begun, self._floor(self._over(year_of_era, 100.0)))
        of_year = graph.op("Sub", of_era, begun)
        place = self._floor(self._over(self._plus(self._times(of_year, 5.0), 2.0), 153.0))
        day = graph.op("Sub", of_year, self._floor(self._over(self._plus(self._times(place, 153.0), 2.0), 5.0)))
        late = graph.op("GreaterOrEqual", place, graph.constant([[10.0]]))
        month = self._plus(graph.where(late, self._plus(place, -12.0), place), 3.0)
        year = graph.op("Add", graph.op("Add", year_of_era, self._times(era, 400.0)), graph.double(late))
        before = self._plus(year, -1.0)
        first = graph.op("Add", self._times(before, 365.0), self._floor(self._over(before, 4.0)))
        first = graph.op("Sub", first, self._floor(self._over(before, 100.0)))
        first = graph.op("Add", first, self._floor(self._over(before, 400.0)))
        in_year = self._plus(graph.op("Sub", days, first), 719_163.0)
        return year, month, self._plus(day, 1.0), in_year

    def day_of_month(self) -> str:
        """The day of the month, as a tensor."""
        return self._civil(self._days())[2]

    def _days(self) -> str:
        return self._floor(self._over(self.value, DAY))

    def _floor(self, value: str) -> str:
        return self.graph.op("Floor", value)

    def _plus(self, value: str, number: float) -> str:
        return self.graph.op("Add", value, self.graph.constant([[number]]))

    def _times(self, value: str, number: float) -> str:
        return self.graph.op("Mul", value, self.graph.constant([[number]]))

    def _over(self, value: str, number: float) -> str:
        return self.graph.op("Div", value, self.graph.constant([[number]]))

    def _modulo(self, value: str, size: float) -> str:
        return self.graph.op("Sub", value, self._times(self._floor(self._over(value, size)), size))

    def _is(self, value: str, number: float) -> str:
        return self.graph.double(self.graph.op("Equal", value, self.graph.constant([[number]])))
