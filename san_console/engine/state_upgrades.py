"""Steps from one version of the state to the next that are more than SQL."""

from __future__ import annotations

import json
import sqlite3
from typing import Any


def group_the_portals(connection: sqlite3.Connection) -> None:
    """Local targets had one portal group, as `tpgt` and `portals`, and a list of names for their access.

    A document that cannot be read stays as it is; it is told of when it is loaded.
    """
    rows = connection.execute("SELECT id, body FROM documents WHERE kind = 'local_target'").fetchall()
    for object_id, body in rows:
        try:
            target = json.loads(body)
        except (ValueError, RecursionError):
            continue
        if not isinstance(target, dict) or "portal_groups" in target:
            continue
        connection.execute(
            "UPDATE documents SET body = ? WHERE kind = 'local_target' AND id = ?",
            (json.dumps(_grouped(target)).encode(), object_id),
        )


def _grouped(target: dict[str, Any]) -> dict[str, Any]:
    # A tag of 0 was possible; as the number of an ALUA port group it is reserved (SPC-4 §7.8.6.2.3).
    tag = target.pop("tpgt", 1) or 1
    target["portal_groups"] = [{"tag": tag, "portals": target.pop("portals", [])}]
    names = target.pop("initiators", [])
    target["access"] = [{"subject": name} for name in names] if isinstance(names, list) else []
    luns = target.get("luns", [])
    for lun in luns if isinstance(luns, list) else []:
        if isinstance(lun, dict):
            # What was shown as the serial number was made from the names, and is again.
            lun["unit_serial"] = lun.pop("serial", "")
    return target
