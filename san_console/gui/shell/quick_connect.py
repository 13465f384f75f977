"""Quick Connect: an address, the targets there, a log-in, all in one panel under the field. No dialog.

The panel is a state machine: `idle` → `looking` → `targets` → `login` → (closed). A discovery that asks for
CHAP goes to `credentials`, then looks again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent
from PySide6.QtWidgets import QWidget

from san_console.api.initiator_objects import LoginSettings, Session, Source, Target
from san_console.api.methods import AddSource, ById, Login, RunSource, TrialResult
from san_console.api.problems import Problem
from san_console.console import commands
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.shell.login_form import NEW_IDENTITY
from san_console.gui.shell.quick_face import QuickConnectFace
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise
from san_console.names.portal import Portal
from san_console.names.url import IscsiUrl

LUN_WAIT_MS: Final = 3_000
"""How long after a log-in the LUNs are waited for before the session is shown instead."""

_START: Final = QT_TRANSLATE_NOOP("Table", "Where is the storage?")


class QuickConnectPanel(QuickConnectFace):
    """Opens under the field of the top bar."""

    closed = Signal()

    def __init__(self, context: Context, parent: QWidget) -> None:
        super().__init__(context.host, parent)
        self._context = context
        self._host = context.host
        self._source_id = ""
        self._made_source = ""
        self._last_run_at: float | None = None
        self._address = ""
        self._target = ""
        self._portal = ""
        self._cancel_call = _nothing
        self.targets.chosen.connect(self._choose_target)
        for button, action in (
            (self.copy_iscsiadm, self._copy_iscsiadm),
            (self.copy_cli, self._copy_cli),
            (self.test_button, self._test),
            (self.cancel_button, self.close_panel),
            (self.go_button, self.go_on),
        ):
            button.clicked.connect(partial(_without_state, action))
        self._host.changed.connect(self._changed)

    # from outside

    def open_idle(self) -> None:
        """The field has the focus: say what can be typed."""
        if self.step == "idle":
            self.show_step("idle", translated(_START))

    def begin(self, text: str) -> None:
        """Enter in the field."""
        text = text.strip()
        if not text:
            return
        self._reset()
        try:
            self._understand(text)
        except NamesError as error:
            self.show_step("idle", translated(_START))
            self.problem.say(
                str(error), "", self.tr("an address, an iSCSI name (iqn., eui., naa.) or an iscsi:// URL")
            )
            self.fit()

    def log_in_to(self, target: str, portal: str) -> None:
        """Straight to the log-in of a known target."""
        self._reset()
        self._to_login(target, portal)

    def close_panel(self) -> None:
        self._forget_failed_source()
        self._reset()
        self.hide()
        self.closed.emit()

    def _forget_failed_source(self) -> None:
        """An address that led nowhere is no source: only one that was there before stays on the list."""
        source = self._host.get("sources", self._made_source)
        if source is not None and source.state != "ok":
            self._host.call("sources.remove", ById(id=source.id))
        self._made_source = ""

    # understanding

    def _understand(self, text: str) -> None:
        if text.lower().startswith("iscsi://"):
            url = IscsiUrl.parse(text)
            if url.target:
                self._to_login(normalise(url.target), str(url.portal), url.user or "")
            else:
                self._look(str(url.portal))
            return
        if text.lower().startswith(("iqn.", "eui.", "naa.")):
            name = normalise(text)
            target = self._host.get("targets", name)
            if target is None:
                self.show_step("idle", translated(_START))
                self.problem.say(
                    self.tr("This target is not known yet, and a name alone does not say where it is."),
                    "",
                    self.tr("type iscsi://ADDRESS/{name}, or the address of a portal of the target").format(
                        name=name
                    ),
                )
                self.fit()
                return
            self._to_login(name, best_portal(target))
            return
        self._look(str(Portal.parse(text)))

    # looking

    def _look(self, address: str) -> None:
        self._address = address
        self.show_step("looking", self.tr("Asking {address} for its targets").format(address=self._address))
        known = self._host.get("sources", address)
        if known is not None:
            self._source_id = known.id
            self._call_run()
            return
        params = AddSource(kind="sendtargets", address=address)
        self._cancel_call = self._host.call(
            "sources.add", params, self._added, self._failed_to_look, owner=self
        )

    def _call_run(self) -> None:
        source = self._host.get("sources", self._source_id)
        self._last_run_at = source.last_run_at if source is not None else None
        self._cancel_call = self._host.call(
            "sources.run", RunSource(id=self._source_id), None, self._failed_to_look, owner=self
        )

    def _added(self, source: Source) -> None:
        self._source_id = self._made_source = source.id
        self._look_at_source()

    def _look_at_source(self) -> None:
        source = self._host.get("sources", self._source_id)
        if source is None or self.step != "looking":
            return
        # A fast answer is there before anybody has seen it run: only the time of the run tells old from new.
        if source.state in ("running", "idle") or source.last_run_at == self._last_run_at:
            return
        if source.problem is not None:
            self._failed_to_look(source.problem)
        else:
            self._show_targets(source)

    def _failed_to_look(self, problem: Problem) -> None:
        if problem.code == "exists":
            # Another client added it in the meantime.
            self._source_id = self._address
            self._call_run()
            return
        if problem.code == "authentication":
            self.show_step(
                "credentials",
                self.tr("{address} asks for CHAP before it names its targets").format(address=self._address),
            )
            self.problem.show_problem(problem)
        else:
            self.show_step("idle", translated(_START))
            self.title.setText(self.tr("Nothing found at {address}").format(address=self._address))
            self.problem.show_problem(problem, (self.tr("Try again"), self._again))
        self.fit()

    def _again(self) -> None:
        self.problem.hide()
        self._look(self._address)

    def _look_with_credentials(self) -> None:
        """The source is made anew with the identities that the user chose for it."""
        login, chap = self.form.settings(), self.form.secrets()
        address = self._address

        def add(_result: object = None) -> None:
            self._last_run_at = None
            params = AddSource(
                kind="sendtargets",
                address=address,
                identity_id=login.identity_id,
                mutual_identity_id=login.mutual_identity_id,
                chap=chap,
            )
            self._host.call("sources.add", params, self._added, self._failed_to_look, owner=self)

        self.show_step("looking", self.tr("Asking {address} for its targets").format(address=self._address))
        self._host.call("sources.remove", ById(id=self._source_id or address), add, add, owner=self)

    def _show_targets(self, source: Source) -> None:
        found = [target for target in self._host.values("targets") if source.id in target.found_by]
        if len(found) == 1:
            self._to_login(found[0].id, best_portal(found[0], self._address))
            return
        self.show_step("targets", "")
        if not found:
            self.show_step("idle", translated(_START))
            self.title.setText(self.tr("{address} names no target").format(address=self._address))
            self.problem.say(
                self.tr("The portal answers, but shows this computer no target."),
                self._address,
                self.tr("whether the target allows this initiator's name (first page, or Settings)"),
            )
            self.fit()
            return
        self.title.setText(
            self.tr("{targets} at {address}").format(
                targets=words.counted(len(found), "target"), address=self._address
            )
        )
        self.targets.show_targets(found)
        self.fit()
        self.targets.setFocus()

    def _choose_target(self, name: str) -> None:
        target = self._host.get("targets", name)
        if isinstance(target, Target):
            self._to_login(name, best_portal(target, self._address))

    # logging in

    def _to_login(self, target: str, portal: str, user: str = "") -> None:
        self._target, self._portal = target, portal
        known = self._host.get("targets", target)
        login = known.login if isinstance(known, Target) else LoginSettings()
        self.form.show_settings(login)
        if user and not login.identity_id:
            mine = [one.id for one in self._host.values("identities") if one.user == user]
            self.form.identity.choose(mine[0] if mine else NEW_IDENTITY)
            if not mine:
                self.form.identity.user.setText(user)
        title = self.tr("Log in to {target}").format(target=words.short_name(target))
        self.show_step("login", title, self.tr("{target} at {portal}").format(target=target, portal=portal))
        asks = isinstance(known, Target) and any(
            p.asks_for_chap for p in known.portals if p.address == portal
        )
        self.pill.show_tag(self.tr("asks for CHAP") if asks else "", "warning")
        if asks and not self.form.identity.identity_choice():
            self._offer_chap()
        self.form.identity.choice.setFocus() if asks else self.go_button.setFocus()

    def _offer_chap(self) -> None:
        """The target wants CHAP and nothing is set: the only identity there is, or the fields for a new
        one.
        """
        identities = self._host.values("identities")
        self.form.identity.choose(identities[0].id if len(identities) == 1 else "")
        if not identities:
            self.form.identity.choose(NEW_IDENTITY)

    def go_on(self) -> None:
        """The filled button: whatever comes next."""
        if self.busy:
            return
        if self.step == "targets":
            self._choose_target(self.targets.current())
        elif self.step == "credentials":
            if self._complain():
                self._look_with_credentials()
        elif self.step == "login" and self._complain():
            self.set_busy(True, self.tr("Logging in"))
            self._cancel_call = self._host.call(
                "sessions.login", self._params(), self._logged_in, self._refused, owner=self
            )

    def _params(self) -> Login:
        return Login(
            target=self._target,
            portal=self._portal,
            login=self.form.settings(),
            chap=self.form.secrets(),
        )

    def _complain(self) -> bool:
        """True when the form can be sent; else says what is missing."""
        complaint = self.form.complaint()
        self.verdict.hide()
        if complaint:
            self.problem.say(complaint)
        else:
            self.problem.hide()
        self.fit()
        return not complaint

    def _test(self) -> None:
        if not self.busy and self._complain():
            self.set_busy(True, self.tr("Testing"))
            self._cancel_call = self._host.call(
                "sessions.test", self._params(), self._tested, self._refused, owner=self
            )

    def _tested(self, result: TrialResult) -> None:
        self.set_busy(False)
        if result.ok:
            auth = self.tr("Authentication: {auth}. ").format(auth=result.auth) if result.auth else ""
            self.verdict.say(
                self.tr("It works ({took_ms:.0f} ms).").format(took_ms=result.took_ms),
                "",
                f"{auth}{result.text}",
            )
        else:
            self.problem.say(self.tr("It does not work."), "", result.text)
        self.fit()

    def _refused(self, problem: Problem) -> None:
        self.set_busy(False)
        if problem.code == "cancelled":
            return
        self.problem.show_problem(problem)
        if problem.code == "authentication":
            self.pill.show_tag(self.tr("asks for CHAP"), "warning")
            if not self.form.identity.identity_choice():
                self._offer_chap()
            self.form.identity.choice.setFocus()
        self.fit()

    def _logged_in(self, session: Session) -> None:
        self.set_busy(False)
        auth = "" if session.auth in ("", "None") else self.tr(" with {auth}").format(auth=session.auth)
        self._context.window.say(
            self.tr("Logged in to {target}{auth}").format(target=words.short_name(session.target), auth=auth),
            "good",
        )
        self.close_panel()
        self._go_to_lun(session.id, LUN_WAIT_MS)

    def _go_to_lun(self, session_id: str, patience_ms: int) -> None:
        """The first LUN of the session as soon as it is known; the session itself when there is none in
        time.
        """
        lun = next((one for one in self._host.values("luns") if one.session_id == session_id), None)
        if lun is not None:
            self._context.window.go("luns", lun.id)
        elif patience_ms <= 0:
            self._context.window.go("sessions", session_id)
        else:
            QTimer.singleShot(100, self, lambda: self._go_to_lun(session_id, patience_ms - 100))

    # commands

    def _copy_iscsiadm(self) -> None:
        user = self.form.identity.chap_user()
        self._copy(lambda: commands.iscsiadm_login(self._target, self._portal, chap_user=user))

    def _copy_cli(self) -> None:
        login = self.form.settings()
        self._copy(
            lambda: commands.login(
                self._target,
                self._portal,
                chap_user=self.form.identity.chap_user(),
                mutual_user=self.form.mutual.chap_user(),
                header_digest=login.header_digest,
                data_digest=login.data_digest,
            )
        )

    def _copy(self, make: Callable[[], str]) -> None:
        try:
            text = make()
        except ValueError as error:
            self.problem.say(str(error))
            self.fit()
            return
        QGuiApplication.clipboard().setText(text)
        self._context.window.say(self.tr("The command is copied, without any secret"), "good")

    # showing

    def _reset(self) -> None:
        if self.busy or self.step == "looking":
            self._cancel_call()
        self._cancel_call = _nothing
        self.busy = False
        self.step = "idle"
        self._source_id = ""
        self._last_run_at = None
        self.form.forget()
        self.problem.hide()
        self.verdict.hide()

    def _changed(self, collection: str, _changes: list[object]) -> None:
        if collection in ("sources", "targets") and self.step == "looking":
            self._look_at_source()
        elif collection == "identities" and self.step in ("login", "credentials") and not self.busy:
            self.form.identity.fill()
            self.form.mutual.fill()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close_panel()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.go_on()
        else:
            super().keyPressEvent(event)


def best_portal(target: Target, address: str = "") -> str:
    """Where to log in: the address that was typed if it is one of the target's, else the best that
    answers.
    """
    portals = [portal for portal in target.portals if not portal.vanished] or target.portals
    if any(portal.address == address for portal in portals):
        return address
    order = {"answers": 0, "checking": 1, "unknown": 1, "no answer": 2}
    best = min(portals, key=lambda p: (order[p.reach], p.round_trip_ms or 1e9), default=None)
    return best.address if best is not None else address


def _without_state(action: Callable[[], object], _checked: bool = False) -> None:
    """`clicked` carries whether the button is checked, which says nothing here."""
    action()


def _nothing() -> None:
    """No call is open."""
