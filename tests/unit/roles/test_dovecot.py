"""The site's script for who is away: which fields of a gateway it takes for the judge's."""

import re
from pathlib import Path

import jinja2
import pytest

ROLE = Path(__file__).parents[3] / "roles" / "dovecot"
SAYS = "dmarc=pass (p=reject dis=none) header.from=a.example"
FIELDS = {
    f"mx1.example.org; spf=pass smtp.mailfrom=a.example; {SAYS}": True,
    f"mx1.example.org; spf=none; {SAYS}": True,
    f"mx1.example.org; dkim=pass header.d=b.example header.i=x;spf=x; {SAYS}": False,
    f"mx2.b.example; spf=pass smtp.mailfrom=a.example; {SAYS}": False,
    f"mx1.example.org; spf=pass smtp.mailfrom=a.example; {SAYS}.b.example": False,
    f"mx1.example.org; spf=pass; {SAYS}".replace("dmarc=pass", "dmarc=fail"): False,
}


@pytest.mark.parametrize("field", FIELDS)
def test_who_is_away_believes_the_judge_s_own_field_alone(field):
    template = (ROLE / "templates/etc/dovecot/sieve/global/away.sieve.j2").read_text()
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    environment.filters["comment"] = lambda text: f"# {text}"
    text = environment.from_string(template).render(ansible_managed="x", dovecot_lmtp_clients=["mx1.example.org"])
    [pattern] = re.findall(r'"(mx1[^"]*)"', text)
    # RFC 5228 2.7.1: ? is any one character, and * any number of them.
    wanted = re.escape(pattern.replace("${domain}", "a.example")).replace(r"\?", ".").replace(r"\*", ".*")
    assert bool(re.fullmatch(wanted, field)) == FIELDS[field]
