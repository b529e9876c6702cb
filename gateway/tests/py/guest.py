"""A module in Python for the tests: it does what a row says, calls the model, and misbehaves."""

import logging
import sys
import time
from datetime import datetime

from modelgate_module import Invalid, ModelError, f32, f64, i64, log, model, module, text

kept = 0
logger = logging.getLogger("guest")


def deep(n):
    return deep(n + 1) + 1


def act(what, x):
    global kept
    if what == "print":
        print("printed", x)
        print("and to the other", file=sys.stderr)
    elif what == "log":
        log.error("logged")
        logger.warning("by the library %s", x)
    elif what == "error":
        raise KeyError("no such thing")
    elif what == "model-error":
        raise ModelError("it will not")
    elif what == "invalid":
        raise Invalid("asked to refuse it", column="x")
    elif what == "exit":
        sys.exit(3)
    elif what == "loop":
        while True:
            pass
    elif what == "allocate":
        held = []
        while True:
            held.append(bytearray(1 << 20))
    elif what == "recurse":
        return deep(0)
    elif what == "open":
        open("/etc/passwd")
    elif what == "clock":
        time.time()
    elif what == "now":
        return datetime.now().year
    elif what == "import":
        import colorsys

        return colorsys.rgb_to_hls(x, x, x)[1]
    elif what == "import-unknown":
        __import__("this")
    elif what == "date":
        return float(datetime.strptime("2026-11-28", "%Y-%m-%d").day)
    elif what == "model":
        return float(model.compute({"x": [[x] * 4]})["scores"][0][0])
    elif what == "wrong":
        return "not a number"
    elif what == "remember":
        kept += 1
        return float(kept)
    return x


@module(
    inputs={"act": text, "x": f64, "pair": f32[2], "note": text | None, "count": i64},
    outputs={"y": f64, "pair": f32[2], "note": text | None, "count": i64},
)
def row(r):
    y = act(r["act"], r["x"])
    return {"y": y, "pair": [2 * value for value in r["pair"]], "note": r["note"], "count": r["count"] - 1}
