"""Turns a clinic's visit into what a model takes: an age band, and a city as it is known."""

from modelgate_module import Invalid, f64, i64, log, module, text


class Settings:
    """The content of `visits.json`."""

    def __init__(self, config):
        self.limits = [float(limit) for limit in config["limits"]]
        self.cities = {alias: city for city, aliases in config["cities"].items() for alias in [city, *aliases]}


@module(
    config=Settings,
    inputs={"age": f64, "city": text | None},
    outputs={"band": i64, "city": text, "is_known": i64},
)
def row(r, settings):
    if not 0 <= r["age"] <= 130:
        raise Invalid(f"expected an age from 0 to 130, got {r['age']:g}", column="age")
    name = (r["city"] or "").strip().lower()
    city = settings.cities.get(name)
    if city is None and name:
        log.info(f"unknown city: {name}")
    return sum(r["age"] >= limit for limit in settings.limits), city or "other", int(city is not None)
