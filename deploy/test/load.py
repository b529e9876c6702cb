"""A steady load that counts everything: kept-alive connections, each with one request after another and a pause between.

Nothing is asked twice and nothing is forgiven: a reset, a status other than 200 or another answer than the right one is a
failure, and the first few are kept with the time and what came.
"""

import asyncio
import collections
import json
import threading
import time

ROW = {
    "Elevation": 2723, "Aspect": 127, "Slope": 16, "Horizontal_Distance_To_Hydrology": 190,
    "Vertical_Distance_To_Hydrology": 69, "Horizontal_Distance_To_Roadways": 1560, "Hillshade_9am": 245,
    "Hillshade_Noon": 228, "Hillshade_3pm": 108, "Horizontal_Distance_To_Fire_Points": 845, "Wilderness_Area": "Rawah",
    "Soil_Type": "C7746",
}
BODY = json.dumps(ROW).encode()
ANSWER = {"prediction": 2}
# A caller that waits longer has given up.
PATIENCE = 10
# Seconds that are worth being told of.
SLOW = 1


class Load:
    """Use with `with`: the load runs inside, in a thread of its own. Its counts are whole afterwards."""

    def __init__(self, port, connections=48, pause=0.1, host="127.0.0.1", body=BODY, answer=ANSWER):
        self.body, self.answer = body, answer
        self.host, self.port, self.connections, self.pause = host, port, connections, pause
        self.latencies = []
        self.failures = []
        self.slow = []
        # How many answers came from each version of the model.
        self.versions = collections.Counter()
        # The longest that this program itself was kept from running: a pause of the machine is nobody's slow answer.
        self.held = 0.0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)

    def __enter__(self):
        self.started = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(PATIENCE + 5)

    @property
    def answered(self):
        return len(self.latencies)

    def summary(self):
        ordered = sorted(self.latencies)
        at = lambda share: f"{ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000:.1f} ms" if ordered else "none"
        text = f"{self.answered} answered, {len(self.failures)} failed, median {at(0.5)}, p99 {at(0.99)}, max {at(1)}"
        if self.slow:
            (first, _), (last, _) = self.slow[0], self.slow[-1]
            text += f"; {len(self.slow)} took over {SLOW:g} s, asked {first:.1f} to {last:.1f} s after the start"
            text += f" (the load itself was held up by {self.held:.1f} s at most)"
        for when, what in self.failures[:5]:
            text += f"\n    after {when:.1f} s: {what}"
        return text

    async def _all(self):
        await asyncio.gather(self._clock(), *(self._user(number) for number in range(self.connections)))

    async def _clock(self):
        while not self.stop.is_set():
            begun = time.monotonic()
            await asyncio.sleep(0.02)
            self.held = max(self.held, time.monotonic() - begun - 0.02)

    async def _user(self, number):
        await asyncio.sleep(self.pause * number / self.connections)
        connection = None
        while not self.stop.is_set():
            begun = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    if connection is None:
                        connection = await asyncio.open_connection(self.host, self.port)
                    keep = await self._ask(*connection)
                self.latencies.append(time.monotonic() - begun)
                if self.latencies[-1] > SLOW:
                    self.slow.append((begun - self.started, self.latencies[-1]))
            except Exception as error:
                self.failures.append((begun - self.started, f"{type(error).__name__}: {error}"))
                keep = False
            if not keep and connection:
                connection[1].close()
                connection = None
            await asyncio.sleep(max(0, begun + self.pause - time.monotonic()))
        if connection:
            connection[1].close()

    async def _ask(self, reader, writer):
        """Whether the connection may be used again."""
        writer.write(
            b"POST /predict HTTP/1.1\r\nHost: inference\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(self.body)
            + self.body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        body = await reader.readexactly(length)
        status = head.split(" ", 2)[1]
        if status != "200" or (self.answer is not None and json.loads(body) != self.answer):
            raise ValueError(f"{status} {body[:200]!r}")
        if "x-modelgate-version: " in head:
            self.versions[head.split("x-modelgate-version: ")[1].split("\r\n")[0]] += 1
        return "connection: close" not in head
