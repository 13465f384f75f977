"""Quick Connect: an address, the targets there, a log-in, all in one panel under the field. No dialog.

The panel is a state machine: `idle` → `looking` → `targets` → `login` → (closed). A discovery that asks for
CHAP goes to `credentials`, then looks again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent
from PySide6.QtWidgets import QProgressBar, QStackedWidget, QWidget

from san_console.api.initiator_objects import LoginSettings, Session, Source, Target
from san_console.api.methods import AddSource, ById, Login, RunSource, TrialResult
from san_console.api.problems import Problem
from san_console.console import commands
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.shell.login_form import NEW_IDENTITY, LoginForm
from san_console.gui.shell.quick_targets import TargetList
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Frame, horizontal, vertical
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.state import Pill
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise
from san_console.names.portal import Portal
from san_console.names.url import IscsiUrl

WIDTH_PX: Final = 640
SPINNER_AFTER_MS: Final = 200
LUN_WAIT_MS: Final = 3_000
"""How long after a log-in the LUNs are waited for before the session is shown instead."""

Step = Literal["idle", "looking", "targets", "login", "credentials"]


class QuickConnectPanel(Frame):
    """Opens under the field of the top bar."""

    closed = Signal()

    def __init__(self, context: Context, parent: QWidget) -> None:
        super().__init__("popup", parent)
        self._context = context
        self._host = context.host
        self.step: Step = "idle"
        self._source_id = ""
        self._address = ""
        self._target = ""
        self._portal = ""
        self._wanted_target = ""
        self._cancel_call = _nothing
        self._busy = False
        self._polished = False
        self.setAccessibleName("Quick Connect")
        self.setFixedWidth(WIDTH_PX)
        self._box = vertical(self, margin=14, gap=10)
        self._build_head()
        self._stack = QStackedWidget()
        self._build_pages()
        self._box.addWidget(self._stack)
        self.problem = InlineProblem()
        self.verdict = InlineProblem("note")
        self._box.addWidget(self.problem)
        self._box.addWidget(self.verdict)
        self._build_buttons()
        self._host.changed.connect(self._changed)
        self.hide()

    # building

    def _build_head(self) -> None:
        head = horizontal(gap=8)
        self._title = ElidedLabel("", style="heading")
        self._pill = Pill("")
        self._step_label = PlainLabel("", style="muted")
        head.addWidget(self._title)
        head.addWidget(self._pill)
        head.addStretch(1)
        head.addWidget(self._step_label)
        self._subtitle = ElidedLabel("", style="muted", mono=True)
        self._box.addLayout(head)
        self._box.addWidget(self._subtitle)

    def _build_pages(self) -> None:
        self._hints = PlainLabel("", style="muted", wrap=True)
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Looking for targets")
        waiting = QWidget()
        inside = vertical(waiting, gap=8)
        inside.addWidget(self._hints)
        inside.addWidget(self._bar)
        inside.addStretch(1)
        self.targets = TargetList()
        self.targets.chosen.connect(self._choose_target)
        self.form = LoginForm(self._host)
        self.form.changed.connect(self._form_changed)
        self._waiting = waiting
        for page in (waiting, self.targets, self.form):
            self._stack.addWidget(page)

    def _build_buttons(self) -> None:
        row = horizontal(gap=8)
        self._copy_label = PlainLabel("Copy as", style="muted")
        self.copy_iscsiadm = Button("iscsiadm", self._copy_iscsiadm, kind="link", tip="Copy the command")
        self.copy_cli = Button("san-console", self._copy_cli, kind="link", tip="Copy the command")
        self.copy_iscsiadm.setAccessibleName("Copy as iscsiadm command")
        self.copy_cli.setAccessibleName("Copy as san-console command")
        for widget in (self._copy_label, self.copy_iscsiadm, self.copy_cli):
            row.addWidget(widget)
        row.addStretch(1)
        self.test_button = Button("Test", self._test, tip="Log in, look, and log out again")
        self.cancel_button = Button("Cancel", self.close_panel)
        self.go_button = Button("Log in", self.go_on, kind="primary")
        for button in (self.test_button, self.cancel_button, self.go_button):
            row.addWidget(button)
        self._box.addLayout(row)

    # from outside

    def open_idle(self) -> None:
        """The field has the focus: say what can be typed."""
        if self.step == "idle":
            self._show_step("idle")

    def begin(self, text: str) -> None:
        """Enter in the field."""
        text = text.strip()
        if not text:
            return
        self._reset()
        try:
            self._understand(text)
        except NamesError as error:
            self._show_step("idle")
            self.problem.say(
                str(error), "", "an address, an iSCSI name (iqn., eui., naa.) or an iscsi:// URL"
            )
            self._fit()

    def log_in_to(self, target: str, portal: str) -> None:
        """Straight to the log-in of a known target."""
        self._reset()
        self._to_login(target, portal)

    def close_panel(self) -> None:
        self._reset()
        self.hide()
        self.closed.emit()

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
                self._show_step("idle")
                self.problem.say(
                    "This target is not known yet, and a name alone does not say where it is.",
                    "",
                    f"type iscsi://ADDRESS/{name}, or the address of a portal of the target",
                )
                self._fit()
                return
            self._to_login(name, best_portal(target))
            return
        self._look(str(Portal.parse(text)))

    # looking

    def _look(self, address: str) -> None:
        self._address = address
        self._show_step("looking")
        known = self._host.get("sources", address)
        if known is not None:
            self._source_id = known.id
            self._call_run()
            return
        chap = self.form.secrets() if self.step == "credentials" else None
        params = AddSource(kind="sendtargets", address=address, chap=chap)
        self._cancel_call = self._host.call(
            "sources.add", params, self._added, self._failed_to_look, owner=self
        )

    def _call_run(self) -> None:
        self._cancel_call = self._host.call(
            "sources.run", RunSource(id=self._source_id), None, self._failed_to_look, owner=self
        )
        self._seen_running = False

    def _added(self, source: Source) -> None:
        self._source_id = source.id
        self._seen_running = source.state == "running"
        self._look_at_source()

    _seen_running = False

    def _look_at_source(self) -> None:
        source = self._host.get("sources", self._source_id)
        if source is None or self.step != "looking":
            return
        if source.state == "running":
            self._seen_running = True
        elif source.state == "failed" and source.problem is not None and self._seen_running:
            self._failed_to_look(source.problem)
        elif source.state == "ok" and self._seen_running:
            self._show_targets(source)

    def _failed_to_look(self, problem: Problem) -> None:
        if problem.code == "authentication":
            self._show_step("credentials")
            self.problem.show_problem(problem)
        else:
            self._show_step("idle")
            self._title.setText(f"Nothing found at {self._address}")
            self.problem.show_problem(problem, ("Try again", self._again))
        self._fit()

    def _again(self) -> None:
        self.problem.hide()
        self._look(self._address)

    def _look_with_credentials(self) -> None:
        """The source is made anew with the identities that the user chose for it."""
        login, chap = self.form.settings(), self.form.secrets()
        address = self._address

        def add(_result: object = None) -> None:
            params = AddSource(
                kind="sendtargets",
                address=address,
                identity_id=login.identity_id,
                mutual_identity_id=login.mutual_identity_id,
                chap=chap,
            )
            self._host.call("sources.add", params, self._added, self._failed_to_look, owner=self)

        self._show_step("looking")
        self._host.call("sources.remove", ById(id=self._source_id or address), add, add, owner=self)

    def _show_targets(self, source: Source) -> None:
        found = [target for target in self._host.values("targets") if source.id in target.found_by]
        if len(found) == 1:
            self._to_login(found[0].id, best_portal(found[0], self._address))
            return
        self._show_step("targets")
        if not found:
            self._show_step("idle")
            self._title.setText(f"{self._address} names no target")
            self.problem.say(
                "The portal answers, but shows this computer no target.",
                self._address,
                "whether the target allows this initiator's name (first page, or Settings)",
            )
            self._fit()
            return
        self._title.setText(f"{words.counted(len(found), 'target')} at {self._address}")
        self.targets.show_targets(found)
        self._fit()
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
        self._show_step("login")
        asks = isinstance(known, Target) and any(
            p.asks_for_chap for p in known.portals if p.address == portal
        )
        self._pill.show_tag("asks for CHAP" if asks else "", "warning")
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
        if self._busy:
            return
        if self.step == "targets":
            self._choose_target(self.targets.current())
        elif self.step == "credentials":
            if self._complain():
                self._look_with_credentials()
        elif self.step == "login" and self._complain():
            self._set_busy(True, "Logging in")
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
        self._fit()
        return not complaint

    def _test(self) -> None:
        if not self._busy and self._complain():
            self._set_busy(True, "Testing")
            self._cancel_call = self._host.call(
                "sessions.test", self._params(), self._tested, self._refused, owner=self
            )

    def _tested(self, result: TrialResult) -> None:
        self._set_busy(False)
        if result.ok:
            auth = f"Authentication: {result.auth}. " if result.auth else ""
            self.verdict.say(f"It works ({result.took_ms:.0f} ms).", "", f"{auth}{result.text}")
        else:
            self.problem.say("It does not work.", "", result.text)
        self._fit()

    def _refused(self, problem: Problem) -> None:
        self._set_busy(False)
        if problem.code == "cancelled":
            return
        self.problem.show_problem(problem)
        if problem.code == "authentication":
            self._pill.show_tag("asks for CHAP", "warning")
            if not self.form.identity.identity_choice():
                self._offer_chap()
            self.form.identity.choice.setFocus()
        self._fit()

    def _logged_in(self, session: Session) -> None:
        self._set_busy(False)
        auth = "" if session.auth in ("", "None") else f" with {session.auth}"
        self._context.window.say(f"Logged in to {words.short_name(session.target)}{auth}", "good")
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
            self._fit()
            return
        QGuiApplication.clipboard().setText(text)
        self._context.window.say("The command is copied, without any secret", "good")

    # showing

    def _reset(self) -> None:
        if self._busy or self.step == "looking":
            self._cancel_call()
        self._cancel_call = _nothing
        self._busy = False
        self.step = "idle"
        self._source_id = ""
        self.form.forget()
        self.problem.hide()
        self.verdict.hide()

    def _set_busy(self, busy: bool, text: str = "") -> None:
        self._busy = busy
        for widget in (self.form, self.test_button, self.go_button):
            widget.setEnabled(not busy)
        self._step_label.setText(f"{text}…" if busy else self._step_text())
        if not busy:
            self.go_button.setFocus()

    def _step_text(self) -> str:
        return {"targets": "step 1 of 2", "login": "step 2 of 2", "credentials": "step 1 of 2"}.get(
            self.step, ""
        )

    def _show_step(self, step: Step) -> None:
        self.step = step
        self.problem.hide()
        self.verdict.hide()
        self._pill.show_tag("", "muted")
        if step == "idle":
            self._title.setText("Where is the storage?")
            self._hints.setText(
                "An address finds targets by SendTargets: 10.20.0.11, san.example:3260, [fd00::5].\n"
                "A target's name, if it is known here, or iscsi://address/name goes straight to the log-in."
            )
        elif step == "looking":
            self._title.setText(f"Asking {self._address} for its targets")
            self._hints.setText("")
        elif step == "login":
            self._title.setText(f"Log in to {words.short_name(self._target)}")
        elif step == "credentials":
            self._title.setText(f"{self._address} asks for CHAP before it names its targets")
        login = step == "login"
        self._subtitle.setText(f"{self._target} at {self._portal}" if login else "")
        self._subtitle.setVisible(login)
        pages: dict[Step, QWidget] = {"targets": self.targets, "login": self.form, "credentials": self.form}
        page = pages.get(step, self._waiting)
        self._stack.setCurrentWidget(page)
        self._hints.setVisible(step == "idle")
        self._bar.setVisible(False)
        if step == "looking":
            QTimer.singleShot(SPINNER_AFTER_MS, self, self._show_bar)
        for widget in (self._copy_label, self.copy_iscsiadm, self.copy_cli, self.test_button):
            widget.setVisible(login)
        self.go_button.setVisible(step in ("targets", "login", "credentials"))
        self.go_button.setText({"targets": "Go on", "credentials": "Look again"}.get(step, "Log in"))
        self.go_button.setEnabled(True)
        self.form.setEnabled(True)
        self.form.favourite.setVisible(login)
        self._step_label.setText(self._step_text())
        self._fit()

    def _show_bar(self) -> None:
        if self.step == "looking":
            self._bar.setVisible(True)
            self._fit()

    def _form_changed(self) -> None:
        if self.isVisible():
            self.verdict.hide()
            self._fit()

    def _fit(self) -> None:
        """As high as the page that is shown, no higher."""
        shown = self._stack.currentWidget()
        for page in (self._waiting, self.targets, self.form):
            policy = page.sizePolicy()
            policy.setVerticalPolicy(policy.Policy.Preferred if page is shown else policy.Policy.Ignored)
            page.setSizePolicy(policy)
        self.show()
        self.raise_()
        if not self._polished:
            # A field's height is known only once the style sheet has seen it.
            self._polished = True
            for child in self.findChildren(QWidget):
                child.ensurePolished()
                child.updateGeometry()
        self._box.activate()
        # Word-wrapped lines tell their height only once their width is known.
        height = self._box.heightForWidth(WIDTH_PX) if self._box.hasHeightForWidth() else 0
        frame = self.contentsMargins()
        self.resize(WIDTH_PX, max(height, self._box.sizeHint().height()) + frame.top() + frame.bottom())

    def _changed(self, collection: str, _changes: list[object]) -> None:
        if collection in ("sources", "targets") and self.step == "looking":
            self._look_at_source()
        elif collection == "identities" and self.step in ("login", "credentials") and not self._busy:
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


def _nothing() -> None:
    """No call is open."""
