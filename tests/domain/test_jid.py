from __future__ import annotations

import pytest

from boton.domain.jid import JID, is_person, mask, parse_jid, parse_phone, parse_recipient, spellings
from boton.errors import InvalidRecipient

PHONE = "5491112345678"


@pytest.mark.parametrize(
    "written",
    [PHONE, int(PHONE), f"+{PHONE}", "+54 9 11 1234-5678", "(549) 11 1234 5678", "54 9 11 1234\u20115678"],
)
def test_number_is_understood_however_it_is_written(written: str | int) -> None:
    assert parse_phone(written) == PHONE
    assert parse_recipient(written) == JID(PHONE, "s.whatsapp.net")


@pytest.mark.parametrize(
    "written", ["", "12", "1234567", "0911123456", "1" * 16, "54911abc5678", "٥٤٩١١١٢٣٤٥", -5, -int(PHONE)]
)
def test_what_is_no_number_with_country_code_is_refused(written: str | int) -> None:
    with pytest.raises(InvalidRecipient) as refused:
        parse_phone(written)
    assert refused.value.code == "invalid_number"


@pytest.mark.parametrize(
    ("written", "jid"),
    [
        (f"{PHONE}@s.whatsapp.net", f"{PHONE}@s.whatsapp.net"),
        (f" {PHONE}:12@s.whatsapp.net ", f"{PHONE}@s.whatsapp.net"),
        (f"{PHONE}.0:3@s.whatsapp.net", f"{PHONE}@s.whatsapp.net"),
        (f"{PHONE}@c.us", f"{PHONE}@s.whatsapp.net"),
        ("1029384756@lid", "1029384756@lid"),
        ("1029384756:7@lid", "1029384756@lid"),
    ],
)
def test_jid_is_a_person_without_its_device(written: str, jid: str) -> None:
    assert str(parse_jid(written)) == jid
    assert is_person(written.strip())


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("123456789-987654@g.us", "not_a_person"),
        ("status@broadcast", "not_a_person"),
        ("120363000000000000@newsletter", "not_a_person"),
        ("abc@s.whatsapp.net", "invalid_jid"),
        (f"{PHONE}@example.org", "invalid_jid"),
        ("@lid", "invalid_jid"),
        ("12@s.whatsapp.net", "invalid_number"),
    ],
)
def test_what_is_no_person_is_refused(written: str, code: str) -> None:
    with pytest.raises(InvalidRecipient) as refused:
        parse_recipient(written)
    assert refused.value.code == code


@pytest.mark.parametrize("jid", ["123-456@g.us", "status@broadcast", "1@newsletter", "", "@lid", PHONE])
def test_groups_broadcasts_and_channels_are_no_persons(jid: str) -> None:
    assert not is_person(jid)


@pytest.mark.parametrize(
    ("number", "other"),
    [
        ("5491112345678", "541112345678"),
        ("5215512345678", "525512345678"),
        ("541112345678", "5491112345678"),
        ("525512345678", "5215512345678"),
        ("5511987654321", None),
        ("14155550123", None),
        ("54911123456789", None),
    ],
)
def test_argentine_and_mexican_mobiles_have_two_spellings(number: str, other: str | None) -> None:
    expected = [number] if other is None else [number, other]
    assert [str(jid) for jid in spellings(parse_recipient(number))] == [f"{one}@s.whatsapp.net" for one in expected]


def test_lid_has_one_spelling_and_no_phone() -> None:
    lid = parse_jid("5491112345678@lid")
    assert spellings(lid) == (lid,)
    assert lid.phone is None


def test_masked_number_tells_country_and_last_digits_only() -> None:
    assert mask(PHONE) == "549…78"
    assert mask("123456") == "…"
