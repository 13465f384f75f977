"""The tabs of a served target that are tables: LUNs, portals, sessions, reservations."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from san_console.gui.dialogs.lun_properties import EditLunDialog
from san_console.gui.models.served_luns import flags, state, state_words, used
from san_console.gui.views.serve import ServePage
from san_console.gui.views.serve_luns import LunsTab
from san_console.gui.views.serve_portals import PortalsTab
from san_console.gui.views.serve_reservations import ReservationsTab
from san_console.gui.views.serve_sessions import ConnectedTab
from tests.gui.page_bench import PageBench, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

PROD = "iqn.2026-11.org.example:prod"
LAB = "iqn.2026-11.org.example:lab-1"
DB = "iqn.2004-10.com.example.hosts:db-1.example"


def test_a_lun_is_added_and_removed() -> None:
    with open_page(ServePage) as bench:
        bench.page.details.open("luns")
        bench.settle()
        bench.page.lun_button.click()
        dialog = bench.dialog()
        fields = dialog.fields
        assert not dialog.accept_button.isEnabled()
        fields.kind.setCurrentIndex(fields.kind.findData("memory"))
        assert dialog.accept_button.isEnabled()
        fields.size_line.setText("100")
        assert "multiple of 512" in fields.problem()
        fields.size_line.setText("64M")
        fields.name.setText("scratch")
        dialog.accept_button.click()
        bench.settle()
        added = next(lun for lun in bench.host.get("local_targets", PROD).luns if lun.name == "scratch")
        assert (added.kind, added.size_bytes) == ("memory", 64 * 2**20)
        tab = bench.page.details.current
        assert isinstance(tab, LunsTab)
        tab.table.select_id(added.id)
        tab.remove_button.click()
        bench.settle()
        assert all(lun.name != "scratch" for lun in bench.host.get("local_targets", PROD).luns)


def test_portals_are_checked_and_the_last_one_stays() -> None:
    with open_page(ServePage) as bench:
        bench.page.details.open("portals")
        bench.settle()
        tab = bench.page.details.current
        assert isinstance(tab, PortalsTab)
        tab.add_button.click()
        dialog = bench.dialog()
        dialog.line.setText("10.20.0.5:99999")
        assert not dialog.accept_button.isEnabled()
        dialog.line.setText("10.20.0.5")
        assert not dialog.accept_button.isEnabled()  # it is there already
        dialog.line.setText("10.20.0.6")
        dialog.accept_button.click()
        bench.settle()
        assert bench.dialogs() == []
        assert "10.20.0.6:3260" in bench.host.get("local_targets", PROD).portal_groups[0].portals
        tab.table.select_id("1\n10.20.0.5:3260")
        tab.remove_button.click()
        bench.settle()
        bench.dialog().accept_button.click()
        bench.settle()
        assert "10.20.0.5:3260" not in bench.host.get("local_targets", PROD).portals
        bench.page.select(LAB)
        bench.settle()
        assert not tab.remove_button.isEnabled()


def test_a_portal_group_changes_its_state_and_can_be_put_back() -> None:
    with open_page(ServePage) as bench:
        bench.page.details.open("portals")
        bench.settle()
        tab = bench.page.details.current
        assert isinstance(tab, PortalsTab)
        first = next(iter(tab.model.objects()))
        before = bench.host.get("local_targets", PROD).portal_groups[0]
        tab.table.select_id(first.id)
        tab.group_button.click()
        dialog = bench.dialog()
        dialog.redirect.setText("nowhere:0:0")
        assert not dialog.accept_button.isEnabled()
        dialog.redirect.setText("")
        dialog.state.setCurrentIndex(dialog.state.findData("standby"))
        dialog.preferred.setChecked(True)
        dialog.accept_button.click()
        bench.settle()
        for asked in bench.dialogs():
            asked.accept_button.click()
            bench.settle()
        group = bench.host.get("local_targets", PROD).portal_groups[0]
        assert (group.access_state, group.preferred) == ("standby", True)
        bench.window.offered[-1]()
        bench.settle()
        assert bench.host.get("local_targets", PROD).portal_groups[0] == before


def test_who_is_connected_and_disconnecting_asks_first() -> None:
    with open_page(ServePage) as bench:
        bench.page.select("t3")
        bench.settle()
        tab = bench.page.details.current
        assert isinstance(tab, ConnectedTab)
        assert len(tab.model) == 3
        tab.table.select_id("t3")
        tab.disconnect_button.click()
        dialog = bench.dialog()
        assert bench.host.get("target_sessions", "t3") is not None
        dialog.accept_button.click()
        bench.settle()
        assert bench.host.get("target_sessions", "t3") is None
        assert len(tab.model) == 2
        assert bench.dialogs() == []


def test_reservations_are_told_by_lun_and_initiator() -> None:
    with open_page(ServePage) as bench:
        bench.page.details.open("reservations")
        bench.settle()
        tab = bench.page.details.current
        assert isinstance(tab, ReservationsTab)
        rows = tab.model.objects()
        assert [(row.reservation.lun_name, row.registration.holder) for row in rows] == [
            ("db-data", True),
            ("db-data", False),
            ("db-data", False),
            ("db-log", True),
        ]
        assert "2 LUNs reserved" in tab.note.text()


def test_clearing_reservations_names_whom_it_hits() -> None:
    with open_page(ServePage) as bench:
        bench.page.details.open("reservations")
        bench.settle()
        tab = bench.page.details.current
        assert isinstance(tab, ReservationsTab)
        tab.clear_button.click()
        dialog = bench.dialog()
        labels = " ".join(label.text() for label in dialog.findChildren(type(bench.page.title_label)))
        assert "db-1.example loses its reservation; it is connected now" in labels
        assert "db-3.example loses its registration" in labels
        dialog.accept_button.click()
        bench.settle()
        assert {row.reservation.lun_name for row in tab.model.objects()} == {"db-log"}


def luns_tab(bench: PageBench[ServePage]) -> LunsTab:
    bench.page.details.open("luns")
    bench.settle()
    tab = bench.page.details.current
    assert isinstance(tab, LunsTab)
    return tab


def test_a_lun_that_fills_up_says_so() -> None:
    with open_page(ServePage) as bench:
        tab = luns_tab(bench)
        shown = {lun.name: (used(lun), state(lun), flags(lun)) for lun in tab.model.objects()}
        assert shown["vm-store"] == ("84%", "filling up", "thin")
        assert shown["db-log"][2] == "no write cache"


def test_a_lun_that_is_offline_says_why() -> None:
    with open_page(ServePage) as bench:
        archive = next(one for one in bench.host.values("local_targets") if one.alias == "archive")
        assert state_words(archive.luns[0]).startswith("offline\n/mnt/archive/2024.img is not there.")


def test_f2_changes_what_is_selected() -> None:
    with open_page(ServePage) as bench:
        tab = luns_tab(bench)
        bench.shell.activateWindow()
        tab.table.select_id("lun-db-log")
        tab.table.setFocus()
        QTest.keyClick(tab.table, Qt.Key.Key_F2)
        assert isinstance(bench.dialog(), EditLunDialog)
        assert bench.dialog().name.text() == "db-log"


def test_a_lun_is_taken_offline_after_asking_and_comes_back() -> None:
    with open_page(ServePage) as bench:
        tab = luns_tab(bench)
        tab.table.select_id("lun-db-data")
        tab._take_offline()
        dialog = bench.dialog()
        labels = " ".join(label.text() for label in dialog.findChildren(type(bench.page.title_label)))
        assert f"{DB} from" in labels
        dialog.accept_button.click()
        bench.settle()
        lun = bench.host.get("local_targets", PROD).luns[0]
        assert (lun.online, lun.state) == (False, "offline")
        assert [rule for rule in bench.host.get("local_targets", PROD).mappings if rule.lun_id == lun.id]
        tab._take_online()
        bench.settle()
        assert bench.host.get("local_targets", PROD).luns[0].state == "online"


def test_a_lun_only_grows() -> None:
    with open_page(ServePage) as bench:
        tab = luns_tab(bench)
        tab.table.select_id("lun-db-log")
        tab._grow()
        dialog = bench.dialog()
        assert dialog.accept_button.isEnabled()  # as large as the file is by now
        for wrong in ("1 GiB", "64G", "much", "70000000001"):
            dialog.line.setText(wrong)
            assert not dialog.accept_button.isEnabled(), wrong
        dialog.line.setText("128 GiB")
        dialog.accept_button.click()
        bench.settle()
        assert bench.host.get("local_targets", PROD).luns[1].size_bytes == 128 << 30


def test_properties_of_a_lun_are_changed() -> None:
    with open_page(ServePage) as bench:
        tab = luns_tab(bench)
        tab.table.select_id("lun-vm-store")
        tab.change_button.click()
        dialog = bench.dialog()
        assert dialog.properties.threshold.value() == 80
        dialog.properties.threshold.setValue(90)
        dialog.properties.write_cache.setChecked(False)
        dialog.properties.texts["product"].setText("STORE")
        dialog.accept_button.click()
        bench.settle()
        for asked in bench.dialogs():
            asked.accept_button.click()
            bench.settle()
        lun = bench.host.get("local_targets", PROD).luns[2]
        assert (lun.soft_threshold_percent, lun.write_cache, lun.product) == (90, False, "STORE")


def sessions_tab(bench: PageBench[ServePage]) -> ConnectedTab:
    bench.page.details.open("sessions")
    bench.settle()
    tab = bench.page.details.current
    assert isinstance(tab, ConnectedTab)
    return tab


def test_connections_of_a_session_are_listed_and_one_is_dropped() -> None:
    with open_page(ServePage) as bench:
        tab = sessions_tab(bench)
        tab.table.select_id("t1")
        assert [one.cid for one in tab.connections.objects()] == [0, 1, 2, 3]
        assert tab.connections_title.text() == "4 connections of at most 4; error recovery level 2"
        tab.connection_table.select_id("2")
        tab.drop_button.click()
        bench.dialog().accept_button.click()
        bench.settle()
        left = bench.host.get("target_sessions", "t1").connections
        assert [one.cid for one in left] == [0, 1, 3]
        tab.table.select_id("t3")
        assert not tab.drop_button.isEnabled()  # its only one


def test_the_other_end_of_an_own_session_is_one_click_away() -> None:
    with open_page(ServePage) as bench:
        bench.page.select(LAB)
        bench.settle()
        tab = sessions_tab(bench)
        for session in tab.model.objects():
            tab.table.select_id(session.id)
            other = [
                one
                for one in bench.host.values("sessions")
                if session.own and (one.target, one.isid) == (session.target, session.isid)
            ]
            assert tab.end_button.isEnabled() == bool(other)
            if other:
                tab.end_button.click()
                assert bench.window.gone[-1] == ("sessions", other[0].id)
