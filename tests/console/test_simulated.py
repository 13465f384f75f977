"""The simulated host answers every method, and its messages lead a replica to its own state."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from san_console.api import methods as api
from san_console.api.initiator_objects import LoginSettings
from san_console.api.messages import COLLECTIONS, Statistics
from san_console.api.methods import METHODS
from san_console.api.problems import Problem
from san_console.api.serving_objects import InitiatorAccess, LocalLun, LocalTarget, Mapping, PortalGroup
from san_console.console.backend import BackendMessage
from san_console.console.replica import Replica
from san_console.console.simulated import SCENARIOS, SimulatedBackend
from san_console.console.simulated.backend import DEFAULT_NOW
from san_console.console.simulated.demo_initiator import PREFIX
from san_console.console.simulated.demo_serving import LAB, PROD, initiator


class Console:
    """What the window does with a backend, with time in its hands."""

    def __init__(self, scenario: str = "demo", targets: int | None = None) -> None:
        self.backend = SimulatedBackend(scenario, targets=targets)
        self.replica = Replica()
        self.states: list[str] = []
        self.backend.on_message = self.take
        self.backend.on_state = lambda state, text: self.states.append(state)
        self.replica.needs_resync = lambda: pytest.fail("a gap")
        self.now = DEFAULT_NOW
        self.messages: list[BackendMessage] = []
        self.backend.start()

    def take(self, message: BackendMessage) -> None:
        self.messages.append(message)
        self.replica.apply(message)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.backend.tick(self.now)

    def ask(self, method: str, params: msgspec.Struct, seconds: float = 6.0) -> Any:
        """The result, or the Problem."""
        answers: list[Any] = []
        self.backend.call(method, params, answers.append, answers.append)
        assert answers == [], "an answer came from inside the call"
        self.backend.deliver()
        if not answers:
            self.pass_time(seconds)
        assert len(answers) == 1, method
        return answers[0]

    def ask_well(self, method: str, params: msgspec.Struct, seconds: float = 6.0) -> Any:
        answer = self.ask(method, params, seconds)
        assert not isinstance(answer, Problem), answer
        return answer

    def only(self, collection: str) -> Any:
        (found,) = self.replica.values(collection)
        return found


def own_target() -> LocalTarget:
    return LocalTarget(
        id="iqn.2026-11.org.example:mine",
        portal_groups=[PortalGroup(portals=["127.0.0.1:3270"])],
        luns=[LocalLun(id="l1", name="one", kind="memory", size_bytes=2**20)],
        access=[InitiatorAccess(subject="*")],
        mappings=[Mapping(initiator="*", lun_id="l1", lun=0)],
    )


DOCUMENT = """\
schema: san-console/targets/1
targets:
  - name: iqn.2026-11.org.example:mine
    portal_groups:
      - tag: 1
        portals: ["127.0.0.1:3270"]
    luns:
      - {id: l1, kind: memory, size: 1 MiB}
    chap: {identities: [db-hosts]}
"""

CALLS: dict[str, msgspec.Struct] = {
    "engine.info": api.Nothing(),
    "engine.set_initiator_name": api.SetInitiatorName(name="iqn.2026-11.org.example:me"),
    "engine.stop": api.StopEngine(force=True),
    "subscribe": api.Nothing(),
    "resync": api.Nothing(),
    "statistics.history": api.StatisticsOf(ids=["s1", "engine"], seconds=60),
    "events.query": api.QueryEvents(object_id="s3"),
    "jobs.cancel": api.ById(id="job-copy"),
    "jobs.dismiss": api.ById(id="job-bench"),
    "keyring.check": api.Nothing(),
    "keyring.use_memory": api.UseMemory(use=True),
    "identities.save": api.SaveIdentity(user="new", secret="sixteen-letters!"),
    "identities.remove": api.ById(id="id-old"),
    "identities.test": api.TryIdentity(id="id-backup", target=PREFIX + "backup", portal="10.20.0.40:3260"),
    "sources.add": api.AddSource(kind="sendtargets", address="10.20.0.200"),
    "sources.run": api.RunSource(),
    "sources.remove": api.ById(id="10.20.0.99:3260"),
    "targets.add": api.AddTarget(name="iqn.2026-11.org.example:typed", portals=["10.20.0.201"]),
    "targets.remove": api.TargetByName(name=PREFIX + "old-array"),
    "targets.probe": api.TargetByName(),
    "targets.acknowledge": api.TargetByName(),
    "targets.set_login": api.SetLogin(name=PREFIX + "mail", login=LoginSettings(favourite=True)),
    "sessions.login": api.Login(target=PREFIX + "test-1", portal="[fd00:20::31]:3260"),
    "sessions.test": api.Login(target=PREFIX + "test-1", portal="[fd00:20::31]:3260"),
    "sessions.logout": api.Logout(id="s4"),
    "sessions.retry_now": api.ById(id="s5"),
    "sessions.stop_retrying": api.ById(id="s5"),
    "sessions.set_favourite": api.SetFavourite(id="s6", favourite=True),
    "sessions.rescan": api.ById(id="s1"),
    "luns.read": api.ReadLun(id="s4/0", offset_bytes=512, length_bytes=1024),
    "luns.vpd": api.ById(id="s4/0"),
    "luns.to_file": api.LunToFile(id="s6/0", path="/tmp/x"),
    "luns.from_file": api.FileToLun(id="s6/0", path="/tmp/x", confirm_identity="naa.3000c0ffee00d1a0"),
    "luns.bench": api.BenchLun(id="s6/0", seconds=2),
    "serving.plan": api.SaveLocalTarget(target=own_target()),
    "serving.create": api.SaveLocalTarget(target=own_target()),
    "serving.change": api.SaveLocalTarget(
        target=LocalTarget(
            id=LAB, portal_groups=[PortalGroup(portals=["127.0.0.1:3260"])], luns=own_target().luns
        )
    ),
    "serving.set_enabled": api.SetEnabled(id=LAB, enabled=False),
    "serving.remove": api.RemoveLocalTarget(id=PROD, force=True),
    "serving.disconnect": api.Disconnect(id="t1"),
    "serving.access": api.AskAccess(target=PROD, initiator=initiator("db-1.example")),
    "serving.set_access_state": api.SetAccessState(target=PROD, tag=2, access_state="standby"),
    "serving.lun_online": api.SetLunOnline(target=PROD, lun_id="lun-iso", online=False),
    "serving.retry_lun": api.LunOf(target=PROD, lun_id="lun-iso"),
    "serving.grow_lun": api.GrowLun(target=PROD, lun_id="lun-vm-store", size_bytes=3 * 2**40),
    "serving.clear_reservation": api.LunOf(target=PROD, lun_id="lun-db-data"),
    "serving.set_discovery_chap": api.SetDiscoveryChap(identity_ids=["id-discovery"]),
    "serving.export_targets": api.ExportTargets(),
    "serving.plan_targets": api.PlanTargets(text=DOCUMENT),
    "serving.apply_targets": api.ApplyTargets(text=DOCUMENT),
    "serving.undo_steps": api.Nothing(),
    "isns.start": api.ByAddress(address="127.0.0.1:3205"),
    "isns.stop": api.Nothing(),
    "isns.add": api.ByAddress(address="10.9.9.9"),
    "isns.remove": api.ById(id="isns.example:3205"),
    "isns.objects": api.ById(id="isns.example:3205"),
    "lab.start": api.Nothing(),
    "lab.stop": api.Nothing(),
}


AFTER_A_CHANGE: dict[str, msgspec.Struct] = {
    "serving.plan_undo": api.UndoTargets(),
    "serving.undo_targets": api.UndoTargets(),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_answered_with_its_result(method: str) -> None:
    console = Console()
    if method in AFTER_A_CHANGE:
        console.ask_well("serving.create", api.SaveLocalTarget(target=own_target()))
    answer = console.ask_well(method, (CALLS | AFTER_A_CHANGE)[method])
    again = msgspec.json.decode(msgspec.json.encode(answer), type=METHODS[method].result)
    assert again == answer
    if console.backend.state == "connected":
        console.pass_time(30)
        assert console.replica.collections == console.backend.world.collections


def test_an_answer_of_another_method_is_refused_at_once() -> None:
    backend = SimulatedBackend("test://demo")
    with pytest.raises(TypeError):
        backend.call("luns.vpd", api.Nothing())
    with pytest.raises(KeyError):
        backend.call("no.such", api.Nothing())
    with pytest.raises(ValueError, match="no scenario"):
        SimulatedBackend("test://other")


def test_the_demo_shows_what_the_pictures_show() -> None:
    replica = Console().replica
    targets = replica.values("targets")
    assert len(targets) == 14
    assert {target.change for target in targets} == {"", "new", "changed", "vanished"}
    assert sum(not target.session_ids for target in targets) == 9
    assert len({session.target for session in replica.values("sessions")}) == 5
    assert len(replica.values("sessions")) == 6
    assert len(replica.values("luns")) == 21
    assert len(replica.values("local_targets")) == 3
    assert len(replica.values("identities")) == 6
    assert sum(job.state == "running" for job in replica.values("jobs")) == 2
    times = [event.at for event in replica.values("events")]
    assert times == sorted(times)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_seed_tells_the_same_story(scenario: str) -> None:
    def story() -> list[Any]:
        console = Console(scenario, targets=50)
        console.ask("sources.add", api.AddSource(kind="sendtargets", address="10.1.1.1"))
        for _ in range(5):
            console.pass_time(0.7)
        return console.messages

    assert story() == story()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_object_fits_its_collection(scenario: str) -> None:
    console = Console(scenario, targets=20)
    for name, kind in COLLECTIONS.items():
        for item in console.replica.values(name):
            assert type(item) is kind
            if scenario != "hostile":
                assert msgspec.json.decode(msgspec.json.encode(item), type=kind) == item


def test_ten_thousand_targets_are_there_at_once() -> None:
    began = time.perf_counter()
    console = Console("large")
    took_s = time.perf_counter() - began
    assert len(console.replica.values("targets")) == 10_000
    assert all(len(target.portals) == 2 for target in console.replica.values("targets"))
    assert took_s < 2, "a tenth of this is usual; a snapshot through JSON would take longer"


def test_figures_come_each_second_and_as_history() -> None:
    console = Console()
    history = console.ask_well("statistics.history", api.StatisticsOf(ids=["s3", "engine"], seconds=60))
    assert len(history) == 120
    lost = [one for one in history if one.id == "s3" and one.read_iops == 0]
    assert len(lost) == 8
    for _ in range(20):
        console.pass_time(0.25)
    statistics = [message for message in console.messages if isinstance(message, Statistics)]
    assert [message.samples[0].at for message in statistics] == [DEFAULT_NOW + n for n in range(1, 6)]
    console.replica.add_history(history)
    kept = [one.at for one in console.replica.samples["s3"]]
    assert kept == sorted(set(kept))
    assert len(kept) == 65
    assert console.replica.samples["engine"][-1].loop_lag_ms > 0


def test_a_login_goes_through_its_states_and_brings_luns() -> None:
    console = Console("empty")
    name = "iqn.2026-11.org.example:new"
    console.ask_well("targets.add", api.AddTarget(name=name, portals=["10.0.0.5"]))
    answers: list[Any] = []
    console.backend.call(
        "sessions.login", api.Login(target=name, portal="10.0.0.5"), answers.append, answers.append
    )
    console.backend.deliver()
    assert console.only("sessions").state == "logging_in"
    console.pass_time(1)
    assert console.only("sessions").state == "logged_in" == answers[0].state
    assert [lun.lun for lun in console.replica.values("luns")] == [0, 1]
    console.ask_well("sessions.logout", api.Logout(id=answers[0].id))
    assert console.replica.values("sessions") == console.replica.values("luns") == []
    assert console.only("targets").session_ids == []


@pytest.mark.parametrize(
    ("chap", "direction"),
    [
        (None, "initiator"),
        (api.ChapSecrets(user="u", secret="wrong-secret"), "initiator"),
        (
            api.ChapSecrets(user="u", secret="right-secret", mutual_user="m", mutual_secret="wrong"),
            "target",
        ),
    ],
)
def test_a_wrong_secret_is_told_with_its_direction(chap: api.ChapSecrets | None, direction: str) -> None:
    console = Console()
    login = api.Login(target=PREFIX + "prod-vm2", portal="10.20.0.14:3260", chap=chap)
    before = len(console.replica.values("sessions"))
    problem = console.ask("sessions.login", login)
    assert isinstance(problem, Problem)
    assert problem.code == "authentication"
    assert problem.details["direction"] == direction
    assert len(console.replica.values("sessions")) == before
    trial = console.ask_well("sessions.test", login)
    assert not trial.ok


@pytest.mark.parametrize(
    ("address", "code"),
    [("nowhere.invalid", "unreachable"), ("10.0.0.99", "unreachable"), ("10.0.0.1:22", "not-iscsi")],
)
def test_a_source_that_fails_says_why(address: str, code: str) -> None:
    console = Console("empty")
    source = console.ask_well("sources.add", api.AddSource(kind="sendtargets", address=address))
    console.pass_time(10)
    failed = console.replica.get("sources", source.id)
    assert failed.state == "failed"
    assert failed.problem.code == code
    assert console.only("jobs").state == "failed"


def test_work_shows_progress_and_can_be_cancelled() -> None:
    console = Console()
    job = console.ask_well("luns.bench", api.BenchLun(id="s6/0", seconds=10))
    console.pass_time(5)
    assert 4 <= console.replica.get("jobs", job.id).done <= 5
    console.ask_well("jobs.cancel", api.ById(id=job.id))
    console.pass_time(20)
    ended = console.replica.get("jobs", job.id)
    assert ended.state == "cancelled"
    assert ended.problem.code == "cancelled"


def test_a_call_that_is_given_up_is_answered_once() -> None:
    console = Console()
    answers: list[Any] = []
    cancel = console.backend.call(
        "sessions.login",
        api.Login(target=PREFIX + "test-1", portal="[fd00:20::31]:3260"),
        answers.append,
        answers.append,
    )
    console.backend.deliver()
    cancel()
    cancel()
    console.pass_time(10)
    assert [answer.code for answer in answers] == ["cancelled"]


def test_what_a_change_would_do_is_told_before() -> None:
    console = Console()
    target = console.replica.get("local_targets", PROD)
    esx, db = initiator("esx-7.example"), initiator("db-1.example")
    mappings = [row for row in target.mappings if row.initiator != db]
    mappings.append(Mapping(initiator=esx, lun_id="lun-vm-store", lun=0))
    wanted = msgspec.structs.replace(target, mappings=mappings)
    lines = console.ask_well("serving.plan", api.SaveLocalTarget(target=wanted))
    assert any("gains vm-store read-write as LUN 0" in line.text for line in lines)
    danger = [line for line in lines if line.severity == "danger"]
    assert len(danger) == 3
    assert all(line.session_ids == ["t1"] for line in danger)
    console.ask_well("serving.change", api.SaveLocalTarget(target=wanted))
    assert console.replica.get("target_sessions", "t3").luns == [0, 3]


def test_stopping_is_refused_while_others_use_it() -> None:
    console = Console()
    problem = console.ask("engine.stop", api.StopEngine())
    assert problem.code == "in-use"
    console.ask_well("engine.stop", api.StopEngine(force=True))
    console.backend.deliver()
    assert console.states == ["connecting", "connected", "lost"]
    answer = console.ask("engine.info", api.Nothing())
    assert answer.code == "disconnected"
    console.backend.start()
    assert console.states[-1] == "connected"


def test_a_lun_looks_like_what_it_holds() -> None:
    console = Console()
    data = console.ask_well("luns.read", api.ReadLun(id="s4/0", offset_bytes=0, length_bytes=1024)).data
    assert data[510:512] == b"\x55\xaa"
    assert data[512:520] == b"EFI PART"
    odd = console.ask_well("luns.read", api.ReadLun(id="s4/0", offset_bytes=511, length_bytes=4)).data
    assert odd == data[511:515]
    beyond = console.ask("luns.read", api.ReadLun(id="s6/3", offset_bytes=2**26, length_bytes=1))
    assert beyond.code == "bad-request"
    huge = console.ask("luns.read", api.ReadLun(id="s6/0", offset_bytes=0, length_bytes=2**21))
    assert huge.code == "too-large"
