"""What is said when the bus does not take an event: enough to act on, and no secret."""

import metaflow.metaflow_config
import pytest

from flowproject.errors import DeliveryError
from flowproject.events import publish


@pytest.mark.parametrize(
    "address",
    [
        "http://me:secret@127.0.0.1:1/event",
        "http://me:secret@127.0.0.1/event",
        "http://127.0.0.1:1/event?token=secret",
    ],
)
def test_the_address_of_the_bus_is_told_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(metaflow.metaflow_config, "ARGO_EVENTS_WEBHOOK_URL", address)
    with pytest.raises(DeliveryError, match="was not taken by the bus") as caught:
        publish("mfns.demo.user.me.days_changed", {"id": "1"})
    assert "Bus http://127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)
