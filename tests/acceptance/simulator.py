"""A client of the simulator: the customers' phones, the ledger, the faults."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.acceptance.fetching import fetch, open_client


class Simulator:
    """`business`: the phone number that customers write to."""

    def __init__(self, url: str, business: str) -> None:
        self.url = url
        self.business = business

    def write(self, number: str, text: str, **more: Any) -> str:
        """A customer writes; answers the message's id."""
        body = {"to": self.business, "text": text, **more}
        return str(self._call("POST", f"/phones/{number}/messages", 201, body)["id"])

    def type_on_business_phone(self, number: str, text: str) -> None:
        self._call("POST", f"/businesses/{self.business}/messages", 201, {"to": number, "text": text})

    def change_phone(self, number: str, **behaviour: Any) -> None:
        self._call("PUT", f"/phones/{number}", 200, behaviour)

    def set_faults(self, **faults: Any) -> None:
        self._call("PUT", "/faults", 200, faults)

    def clear_faults(self) -> None:
        self._call("DELETE", "/faults", 204)

    def messages(self, number: str) -> list[dict[str, Any]]:
        return list(self._call("GET", f"/phones/{number}/messages", 200)["messages"])

    def received(self, number: str) -> list[str]:
        """The texts that reached that phone, in order, repeats included."""
        return [message["text"] for message in self.messages(number) if message["to"] == number]

    def is_typed_to(self, number: str) -> bool:
        """Whether that phone shows that the business is typing."""
        return bool(self._call("GET", f"/phones/{number}/messages", 200)["typing"])

    def ledger(self) -> list[dict[str, Any]]:
        """Every delivery there ever was."""
        found: list[dict[str, Any]] = []
        after = 0
        while page := self._call("GET", f"/ledger?after={after}&limit=1000", 200)["deliveries"]:
            found += page
            after = page[-1]["seq"]
        return found

    def copies(self, *texts: str) -> Counter[str]:
        """How often each of these texts reached a phone, whichever."""
        wanted = set(texts)
        counts = Counter(delivery["text"] for delivery in self.ledger() if delivery["text"] in wanted)
        return Counter({text: counts[text] for text in texts})

    def under_way(self) -> int:
        """Messages that are between a gateway and a phone, waiting out the latency."""
        lines = fetch(f"{self.url}/metrics").text.splitlines()
        return next(int(float(line.split()[1])) for line in lines if line.startswith("boton_simulator_under_way "))

    def _call(self, method: str, path: str, expected: int, body: Any = None) -> Any:
        with open_client() as client:
            answer = client.request(method, self.url + path, json=body)
        assert answer.status_code == expected, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None
