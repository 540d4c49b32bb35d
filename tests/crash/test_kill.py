"""SIGKILL at random moments under load: nothing that was acknowledged is missing, the store always opens."""

import asyncio
import os
import random
import subprocess

from load import Load
from siskin import BINARY, Siskin

KILLS = int(os.environ.get("SISKIN_KILLS", "200"))
# Stores that are written and killed at the same time.
LANES = 4


class Lane:
    """One store, killed again and again."""

    def __init__(self, seed, grows):
        self.chance = random.Random(seed)
        self.load = Load(self.chance, grows)
        self.siskin = Siskin()
        self.kills = 0

    def rewritten(self):
        """How often the file was rewritten."""
        return self.siskin.log().count("store: rewrote")

    async def live(self, lanes):
        """All kills, and as many more as a slow machine needs until the file that grows was rewritten."""
        await self.load.prepare(self.siskin)
        enough = lambda: sum(lane.kills for lane in lanes) >= KILLS  # noqa: E731
        while not enough() or (self.load.grows and not self.rewritten()):
            await self.load.run(self.siskin, self.chance.uniform(2, 8) if enough() else self.moment())
            await self.dead()
            if self.kills % 7 == 0:
                await self.die_at_start()
            if self.kills % 10 == 0:
                await asyncio.to_thread(check, self.siskin.data_dir)
            await asyncio.to_thread(self.siskin.start)
            await self.load.verify(self.siskin)

    def moment(self):
        """When to kill: mostly soon, and sometimes late enough for a note to be saved."""
        return self.chance.uniform(0.7, 1.5) if self.chance.random() < 0.2 else self.chance.uniform(0.0, 0.4)

    async def dead(self):
        await asyncio.to_thread(self.siskin.kill)
        self.kills += 1

    async def die_at_start(self):
        """Killed while it opens what the last kill left."""
        process = await asyncio.create_subprocess_exec(
            BINARY, "serve", env=self.siskin.environment, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        await asyncio.sleep(self.chance.uniform(0, 0.08))
        process.kill()
        await process.wait()
        self.kills += 1


def check(data_dir):
    """`siskin check` finds the store whole, as it was left."""
    done = subprocess.run([BINARY, "check", "--store", f"{data_dir}/siskin.redb"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and " is whole: " in done.stdout, done


async def kill_all(lanes):
    await asyncio.gather(*(lane.live(lanes) for lane in lanes))


def test_what_was_acknowledged_survives_sigkill(chance):
    lanes = []
    try:
        lanes = [Lane(chance.random(), grows=number == 0) for number in range(LANES)]
        asyncio.run(kill_all(lanes))
        for lane in lanes:
            lane.siskin.stop()
            check(lane.siskin.data_dir)
        rewritten = sum(lane.rewritten() for lane in lanes)
        print(f"{sum(lane.kills for lane in lanes)} kills, {sum(lane.load.acks for lane in lanes)} acknowledgements, {rewritten} files rewritten")
        notes = sum(count.acked for lane in lanes for count in lane.load.notes)
        assert notes > 0 and rewritten > 0 and sum(lane.kills for lane in lanes) >= KILLS
    finally:
        for lane in lanes:
            lane.siskin.close()
