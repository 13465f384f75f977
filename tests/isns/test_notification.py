"""State change notifications: who may ask for them, who gets which, and where they may be sent (B45)."""

import pytest

from san_console.isns import attributes as a
from san_console.isns import functions, requests, status
from san_console.isns.attributes import Attribute, Kind, Tag, read_number, read_text, write_number, write_text
from san_console.isns.changes import Moment
from san_console.isns.message import Message
from san_console.isns.name_server import NameServer
from san_console.isns.notification import Callback, inquiry
from san_console.isns.policy import ServerPolicy
from san_console.isns.requests import EntityEntry, NodeEntry, PortalEntry
from san_console.names.portal import Portal

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
T1, I1, I2, CONTROL = (f"iqn.2026-11.test:{name}" for name in ("t1", "i1", "i2", "control"))
EVENTS = a.SCN_OBJECT_ADDED | a.SCN_OBJECT_REMOVED | a.SCN_OBJECT_UPDATED
NOW = Moment(0.0, 1_800_000_000)


class Site:
    def __init__(self, policy: ServerPolicy | None = None) -> None:
        self.server = NameServer(policy)
        self.told: dict[str, dict[str, int]] = {}
        self.callbacks: list[Callback] = []

    def send(self, message: Message, address: str = HERE) -> int:
        outcome = self.server.handle(message, address, NOW)
        self.told = {}
        for notification in outcome.notifications:
            destination, timestamp, *rest = notification.message.attributes
            assert notification.message.function == functions.SCN
            assert read_text(destination.value) == notification.node_name
            assert read_number(timestamp.value) == NOW.unix_s
            pairs = zip(rest[::2], rest[1::2], strict=True)
            self.told[notification.node_name] = {read_text(n.value): read_number(b.value) for b, n in pairs}
            self.callbacks = notification.callbacks
        assert outcome.response is not None
        assert outcome.response.status_code is not None
        return outcome.response.status_code

    def initiator(self, name: str, *portals: PortalEntry, address: str = HERE) -> int:
        entity = EntityEntry([NodeEntry(name, initiator=True)], list(portals), entity_id=name)
        return self.send(requests.registration(name, entity, replace=False), address)

    def target(self, name: str = T1, port: int = 3260) -> int:
        entity = EntityEntry([NodeEntry(name, target=True)], [PortalEntry(Portal(HERE, port))], entity_id="t")
        return self.send(requests.registration(name, entity, replace=False))

    def listen(self, name: str = I1, bitmap: int = EVENTS, address: str = HERE) -> int:
        return self.send(requests.scn_registration(name, bitmap), address)


def listening(port: int, address: str = HERE, **options: int) -> PortalEntry:
    return PortalEntry(Portal(address, port), scn_port=port + 1, **options)  # type: ignore[arg-type]  # ESI options


@pytest.fixture
def site() -> Site:
    site = Site()
    assert site.initiator(I1, listening(4000)) == 0
    assert site.listen() == 0
    return site


def test_node_hears_of_targets_that_come_change_and_go(site: Site) -> None:
    assert site.target() == 0
    assert site.told == {I1: {T1: a.SCN_OBJECT_ADDED}}
    assert site.callbacks == [Callback(HERE, 4001)]
    assert site.target() == 0
    assert site.told == {}, "nothing changed"
    assert site.target(port=3261) == 0
    assert site.told == {I1: {T1: a.SCN_OBJECT_UPDATED}}
    assert site.send(requests.deregistration(T1, entity_id="t")) == 0
    assert site.told == {I1: {T1: a.SCN_OBJECT_REMOVED}}


def test_expiry_is_told_too(site: Site) -> None:
    assert site.target() == 0
    assert site.initiator(I1, listening(4000)) == 0
    outcome = site.server.expire(Moment(600.0, 0))
    assert outcome.notifications == [], "all expired together"
    assert len(site.server.database) == 0
    assert site.target() == 0
    assert site.initiator(I1, listening(4000)) == 0
    assert site.listen() == 0
    entity = site.server.database.entities[("t",)]
    entity.expires_at = 1.0
    (notification,) = site.server.expire(Moment(2.0, 9)).notifications
    assert notification.node_name == I1


def test_node_does_not_hear_of_its_own_coming_but_of_its_portals(site: Site) -> None:
    assert site.initiator(I1, listening(5000)) == 0
    assert site.told == {I1: {I1: a.SCN_OBJECT_UPDATED}}


@pytest.mark.parametrize(
    ("bitmap", "hears_target", "hears_initiator"),
    [
        (a.SCN_TARGET_AND_SELF | EVENTS, True, False),
        (a.SCN_INITIATOR_AND_SELF | EVENTS, False, True),
        (a.SCN_OBJECT_REMOVED, False, False),
        (a.SCN_OBJECT_ADDED, True, True),
        (0, False, False),
    ],
)
def test_bitmap_selects(site: Site, bitmap: int, hears_target: bool, hears_initiator: bool) -> None:
    assert site.listen(bitmap=bitmap) == 0
    assert site.target() == 0
    assert bool(site.told) == hears_target
    assert site.initiator(I2) == 0
    assert bool(site.told) == hears_initiator


def test_domains_scope_notifications() -> None:
    site = Site(ServerPolicy(domains={"a": frozenset({I1}), "b": frozenset({T1})}))
    assert site.initiator(I1, listening(4000)) == 0
    assert site.listen() == 0
    assert site.target() == 0
    assert site.told == {}


def test_management_notifications_are_for_control_nodes() -> None:
    policy = ServerPolicy(
        domains={"a": frozenset({CONTROL}), "b": frozenset({T1})}, control_nodes={CONTROL: frozenset({HERE})}
    )
    site = Site(policy)
    assert site.initiator(CONTROL, listening(4000)) == 0
    assert site.listen(CONTROL, EVENTS | a.SCN_MANAGEMENT) == 0
    assert site.target() == 0
    assert site.told == {CONTROL: {T1: a.SCN_OBJECT_ADDED | a.SCN_MANAGEMENT}}


def test_registrations_that_are_rejected(site: Site) -> None:
    rejected = status.SCN_REGISTRATION_REJECTED
    assert site.listen(bitmap=EVENTS | a.SCN_MANAGEMENT) == rejected
    assert site.listen(bitmap=a.SCN_DD_MEMBER_ADDED) == rejected
    assert site.initiator(I2) == 0
    assert site.listen(I2) == rejected, "no portal with an SCN port"
    assert site.listen("iqn.2026-11.test:nobody") == rejected
    assert site.listen(I1, address=ELSEWHERE) == status.SOURCE_UNAUTHORIZED
    source = Attribute(Tag.ISCSI_NAME, write_text(I1))
    for attributes in (
        [source, a.DELIMITER],
        [source, source, a.DELIMITER],
        [source, source, a.DELIMITER, source],
    ):
        assert site.send(Message(functions.SCN_REG, 1, 0, None, attributes)) == rejected


def test_third_party_is_never_called_back(site: Site) -> None:
    assert site.initiator(I2, listening(4000, "10.9.9.9")) == 0
    assert site.listen(I2) == status.SCN_REGISTRATION_REJECTED
    assert (
        site.initiator(I2, listening(4000, "10.9.9.9"), PortalEntry(Portal(HERE, 7000), scn_port=7001)) == 0
    )
    assert site.listen(I2) == 0
    assert site.listen(I1, 0) == 0
    assert site.target() == 0
    assert site.callbacks == [Callback(HERE, 7001)]
    open_site = Site(ServerPolicy(callback_anywhere=True))
    assert open_site.initiator(I2, listening(4000, "10.9.9.9")) == 0
    assert open_site.listen(I2) == 0


def test_deregistration(site: Site) -> None:
    assert site.initiator(I2) == 0
    assert site.send(requests.scn_deregistration(I1), ELSEWHERE) == status.SOURCE_UNAUTHORIZED
    assert site.send(requests.scn_deregistration(I1)) == 0
    assert site.target() == 0
    assert site.told == {}
    assert site.send(requests.scn_deregistration("iqn.2026-11.test:nobody")) == 0
    source = Attribute(Tag.ISCSI_NAME, write_text(I1))
    assert site.send(Message(functions.SCN_DEREG, 1, 0, None, [source, a.DELIMITER])) == status.NO_SUCH_ENTRY
    other = [Attribute(Tag.ISCSI_NAME, write_text("iqn.2026-11.test:x")), source, a.DELIMITER]
    assert site.send(Message(functions.SCN_DEREG, 1, 0, None, other)) == status.SOURCE_UNKNOWN


def test_client_may_announce_an_event_of_its_own_node(site: Site) -> None:
    assert site.target() == 0

    def event(source: str, node: str, bits: int) -> int:
        attributes = [Attribute(32, write_text(source)), Attribute(32, write_text(node)), a.DELIMITER]
        attributes.append(Attribute(Tag.SCN_BITMAP, write_number(bits)))
        return site.send(Message(functions.SCN_EVENT, 1, 0, None, attributes))

    assert event(T1, T1, a.SCN_OBJECT_UPDATED) == 0
    assert site.told == {I1: {T1: a.SCN_OBJECT_UPDATED}}
    assert event(I1, T1, a.SCN_OBJECT_UPDATED) == status.SOURCE_UNAUTHORIZED
    assert event(T1, T1, a.SCN_MANAGEMENT) == status.SCN_EVENT_REJECTED
    assert event(T1, "iqn.2026-11.test:nobody", 4) == status.SCN_EVENT_REJECTED


# Entity status inquiries


def esi(interval: int, port: int | None, address: str = HERE) -> PortalEntry:
    return PortalEntry(Portal(address, 4000), esi_interval_s=interval, esi_port=port)


def test_interval_is_taken_back_where_inquiries_are_not_made() -> None:
    site = Site()
    assert site.initiator(I1, esi(60, 4001), PortalEntry(Portal(HERE, 1))) == 0
    assert [p.number(Tag.ESI_INTERVAL) for p in site.server.database.objects(Kind.PORTAL)] == [0, None]


def test_interval_needs_a_port_that_may_be_called() -> None:
    site = Site(ServerPolicy(esi=True))
    assert site.initiator(I1, esi(60, None)) == status.INVALID_REGISTRATION
    assert site.initiator(I1, esi(60, 4001, "10.9.9.9")) == status.ESI_NOT_AVAILABLE
    assert site.initiator(I1, esi(0, None)) == 0
    assert site.initiator(I1, esi(60, 4001)) == 0
    assert site.initiator(I1, PortalEntry(Portal(HERE, 4002), esi_interval_s=30)) == 0, (
        "the other portal has one"
    )


def test_inquiry_carries_time_entity_and_portal_in_order() -> None:
    site = Site(ServerPolicy(esi=True))
    assert site.initiator(I1, esi(60, 4001)) == 0
    (portal,) = site.server.database.objects(Kind.PORTAL)
    message = inquiry(site.server.database.entities[(I1,)], portal, 5)
    assert [attribute.tag for attribute in message.attributes] == [4, 1, 16, 17]
    assert message.function == functions.ESI
