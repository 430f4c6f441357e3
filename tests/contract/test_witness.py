"""A department keeps checkpoints of the platform's log and notices when they do not follow (SD26.2)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.exchange import Witness, migrate, open_exchange
from agent.exchange.witness import DAY_US
from central.ca import Authority, make_authority
from proto.errors import Diverged
from proto.log import CHECKPOINT, START, Checkpoint
from proto.signing import SignatureWrong, Signer
from proto.v1 import node_pb2

pytest_plugins = ["tests.support.exchanges"]
MINUTE_US = 60_000_000


class Platform:
    """Signs checkpoints, honest or not."""

    def __init__(self, folder: Path) -> None:
        self.authority: Authority = make_authority("市大数据局 CA")
        self.authority.issue_platform("省平台").write(folder / "p.pem", folder / "p.key")
        self.signer = Signer.load(folder / "p.pem", folder / "p.key")
        self.made: list[Checkpoint] = []

    def go_on(self, count: int, every_us: int = MINUTE_US) -> list[node_pb2.SignedCheckpoint]:
        """So many more checkpoints."""
        for _ in range(count):
            last = self.made[-1] if self.made else None
            n, at_us, previous = (
                (last.n + 1, last.at_us + every_us, last.digest) if last else (1, 40 * DAY_US, START)
            )
            self.made.append(Checkpoint(n, at_us, previous, bytes([len(self.made) % 256]) * 32, 3))
        return [self.signed(each) for each in self.made[-count:]]

    def signed(self, checkpoint: Checkpoint) -> node_pb2.SignedCheckpoint:
        """As it travels."""
        return node_pb2.SignedCheckpoint(
            content=checkpoint.content,
            signature=self.signer.sign(CHECKPOINT, checkpoint.content),
            certificate=self.signer.certificate_pem.decode(),
        )


@pytest.fixture
def platform(tmp_path) -> Platform:
    """A platform with a log."""
    return Platform(tmp_path)


@pytest.fixture
def witness(exchange_url) -> Iterator[Witness]:
    """One that holds nothing yet."""
    engine = open_exchange(exchange_url, "police")
    migrate(engine)
    yield Witness(engine)
    engine.dispose()


def test_the_newest_and_one_a_day_are_kept(witness, platform):
    """Ten days, a checkpoint every six hours, some heard of one by one and some together."""
    assert witness.newest() == 0
    for _ in range(20):
        witness.take(platform.go_on(1, DAY_US // 4), platform.authority.pem)
    witness.take(platform.go_on(20, DAY_US // 4), platform.authority.pem)
    held = [each.open(platform.authority.pem) for each in witness.held()]

    assert witness.newest() == 40
    assert {each.at_us // DAY_US for each in held} == set(range(40, 50))
    assert len(held) <= 10 + 2
    assert all(one.n < later.n for one, later in itertools.pairwise(held))


def test_a_log_that_went_back_is_noticed(witness, platform):
    """Fewer checkpoints than are held; what is held stays, what contradicts it is kept too."""
    witness.take(platform.go_on(5), platform.authority.pem)
    back = platform.signed(platform.made[2])
    for _ in range(2):
        with pytest.raises(Diverged, match="went back to checkpoint 3; checkpoint 5 is held"):
            witness.take([back], platform.authority.pem)
    assert witness.newest() == 5
    witness.take(platform.go_on(1), platform.authority.pem)
    assert witness.newest() == 6


def test_another_story_is_noticed(witness, platform, tmp_path):
    """As many checkpoints and more, but others: the next one does not follow."""
    witness.take(platform.go_on(5), platform.authority.pem)
    del platform.made[2:]
    platform.made[-1] = Checkpoint(2, platform.made[-1].at_us, platform.made[0].digest, bytes(32), 9)
    platform.go_on(6)
    with pytest.raises(Diverged, match="checkpoint 6 does not follow"):
        witness.take([platform.signed(each) for each in platform.made[5:]], platform.authority.pem)
    with pytest.raises(Diverged, match="shows another checkpoint 5"):
        witness.take([platform.signed(platform.made[4])], platform.authority.pem)
    assert witness.newest() == 5


def test_what_is_missing_between_is_noticed(witness, platform):
    """A gap could hide another story."""
    witness.take(platform.go_on(2), platform.authority.pem)
    with pytest.raises(Diverged, match="checkpoint 4 does not follow"):
        witness.take(platform.go_on(2)[1:], platform.authority.pem)


def test_only_the_platforms_signature_counts(witness, platform, tmp_path):
    """Nothing is kept of what somebody else signed, or of a changed checkpoint."""
    (told,) = platform.go_on(1)
    with pytest.raises(SignatureWrong):
        witness.take([told], make_authority("另一个").pem)
    told.content = told.content.replace(b'"chains":3', b'"chains":4')
    with pytest.raises(SignatureWrong):
        witness.take([told], platform.authority.pem)
    assert witness.newest() == 0


def test_a_log_is_begun_anew_only_by_people(witness, platform):
    """After a restore that was explained; the evidence stays."""
    witness.take(platform.go_on(5), platform.authority.pem)
    assert witness.accept("王芳: 恢复备份") == 2
    assert witness.newest() == 0
    witness.take([platform.signed(platform.made[2])], platform.authority.pem)
    assert witness.newest() == 3
    assert [each.open(platform.authority.pem).n for each in witness.held()] == [1, 3, 5]
