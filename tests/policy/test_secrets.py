"""Secrets in text. All of them are made up, and put together here so that no scanner takes them for real."""

from __future__ import annotations

import base64
import random
import string

import pytest

from hermes_acp.policy.secrets import Span, find, redact, tokens
from tests.policy.cost import is_bounded

CHARS = 65_536
WORD = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
RANDOM = random.Random(7)


def made(length: int, alphabet: str = WORD) -> str:
    """Random characters with letters and digits among them."""
    return "".join(RANDOM.choices(alphabet, k=length - 4)) + ("aB3" if alphabet is WORD else "a3f")[:3] + "7"


def uuid() -> str:
    return "-".join(made(length, HEX) for length in (8, 4, 4, 4, 12))


def web_token(header: str = '{"alg":"HS256","typ":"JWT"}') -> str:
    parts = (header, '{"sub":"1234567890","name":"somebody"}')
    return ".".join(
        [*(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts), made(43)]
    )


PASSWORD = "q7" + "Tz!" + "m2Rw"
KEY = made(32, HEX)

TOKENS = [
    ("aws access key", "AKIA" + made(16, string.ascii_uppercase + "234567").upper()),
    ("google api key", "AIza" + made(35)),
    ("google client secret", "GOCSPX" + "-" + made(28)),
    ("azure client secret", "a1b" + "8Q" + "~" + made(34)),
    ("digitalocean token", "dop" + "_v1_" + made(64, HEX)),
    ("fly.io token", "fo1" + "_" + made(43)),
    ("github token", "gh" + "p_" + made(36)),
    ("github token", "github" + "_pat_" + made(22) + "_" + made(59)),
    ("gitlab token", "gl" + "pat-" + made(20)),
    ("npm token", "np" + "m_" + made(36)),
    ("pypi token", "pypi-AgE" + "IcHlwaS5vcmc" + made(80)),
    ("docker token", "dckr" + "_pat_" + made(27)),
    ("anthropic key", "sk-ant-" + "api03-" + made(93) + "AA"),
    ("openai key", "sk-" + made(20) + "T3Blbk" + "FJ" + made(20)),
    ("openai key", "sk-" + "proj-" + made(60)),
    ("hugging face token", "h" + "f_" + made(34, string.ascii_letters).translate(str.maketrans("37", "xY"))),
    ("groq key", "gs" + "k_" + made(52)),
    ("slack token", "xox" + "b-123456789012-1234567890123-" + made(24)),
    ("discord token", made(26) + "." + made(6) + "." + made(38)),
    ("telegram token", "123456789" + ":AA" + made(33)),
    ("twilio key", "S" + "K" + made(32, HEX)),
    ("sendgrid key", "S" + "G." + made(22) + "." + made(43)),
    ("mailchimp key", made(32, HEX) + "-us12"),
    ("stripe key", "sk" + "_live_" + made(24)),
    ("shopify token", "shp" + "at_" + made(32, HEX)),
    ("vault token", "hv" + "s." + made(90)),
    ("terraform token", made(14) + ".atlas" + "v1." + made(60)),
    ("databricks token", "dap" + "i" + made(32, HEX)),
    ("sentry token", "sntr" + "yu_" + made(64, HEX)),
    ("notion token", "nt" + "n_12345678901" + made(35)),
    ("linear key", "lin" + "_api_" + made(40)),
    ("json web token", web_token()),
]


@pytest.mark.parametrize(("name", "token"), TOKENS, ids=[name for name, _ in TOKENS])
def test_a_token_is_known_by_its_shape_wherever_it_stands(name: str, token: str) -> None:
    mark = f"[redacted: {name}]"
    for before, after in (("", ""), ("see ", "."), ('{"x": "', '"}'), ("\n", "\n"), ("=", ";"), ("é(", ")")):
        assert redact(before + token + after) == before + mark + after


@pytest.mark.parametrize(("name", "token"), TOKENS, ids=[name for name, _ in TOKENS])
def test_a_longer_word_is_no_token(name: str, token: str) -> None:
    assert name not in {span.kind for span in find("a" + token + "zZ")}


NAMED = [
    ("password = '{}'", PASSWORD),
    ('"password": "{}",', PASSWORD),
    ('{{\\"password\\": \\"{}\\"}}', PASSWORD),
    ("DB_PASSWORD={}\nPORT=1", PASSWORD + "&x;(1)"),
    ("export PGPASSWORD={}; psql", "Tr0ub" + "4dor"),
    ("password: {}  # of the test system", PASSWORD),
    ("spring.datasource.password={}", PASSWORD),
    ("mysql --password={} -u root", "Qw3" + "rty99"),
    ("tool --token {} --verbose", KEY),
    ("<password>{}</password>", PASSWORD),
    ('<add key="ClearTextPassword" value="{}" />', PASSWORD),
    ("Server=db;User Id=sa;Password={};Encrypt=true", PASSWORD),
    ("AccountKey={};EndpointSuffix=core", made(86) + "=="),
    ("api_key = {}", KEY),
    ("const apiKey = `{}`;", KEY),
    ('get("api_token", "{}")', KEY),
    ("AWS_SECRET_ACCESS_KEY={}", made(40)),
    ("SECRET_KEY = '{}'", "django-insecure-" + made(40)),
    ("https://host/x?access_token={}&y=1", KEY),
    ("curl -H 'X-Api-Key: {}' https://host", KEY),
    ("Authorization: Bearer {}", KEY),
    ('"Authorization": "Token {}"', made(40, HEX)),
    ("HEROKU_KEY={}", uuid()),
    ("snyk_token: {}", uuid()),
    ("sourcegraph: {}", made(40, HEX)),
    ("token:\n  '{}'", KEY),
    ("postgres://app:{}@db:5432/x", "s3cr3t" + "P@ss"),
    ("redis://:{}@cache:6379", "Zq8" + "rTy1"),
    ("https://oauth2:{}@git.example/x.git", "deadbeef"),
    ("curl -u somebody:{} https://host", "d2LkV" + "78zLx!t"),
    ('curl --user ":{}" https://host', "d2LkV" + "78zLx!t"),
    ("machine host login me password {}", "n3tRc" + "Pw1"),
    ("//registry.example/:_authToken={}", uuid()),
    ("Proxy-Header: basic {}", base64.b64encode(b"me:" + PASSWORD.encode()).decode()),
    (
        "https://hooks.slack.com/services/{}",
        "T0" + made(8).upper() + "/B0" + made(8).upper() + "/" + made(24),
    ),
]


@pytest.mark.parametrize(("text", "secret"), NAMED, ids=[text for text, _ in NAMED])
def test_a_secret_behind_a_name_is_taken_out_and_nothing_else(text: str, secret: str) -> None:
    whole = text.format(secret)
    (span,) = find(whole)
    assert whole[span.start : span.end] == secret
    assert redact(whole) == text.format(f"[redacted: {span.kind}]")


@pytest.mark.parametrize(
    "text",
    [
        "password = ${DB_PASSWORD_1}",
        "password: '{{ vault_password_2 }}'",
        'password="<your-password1>"',
        "api_key = 'YOUR_API_KEY_123'",
        "token: xxxxxxxxxxxxxxxx1234",
        "secret = 'changeme123abc4d5e'",
        "password: required",
        'type="password" minlength="8"',
        'password = "correct horse battery staple"',
        "password=os.environ['PW1']",
        'password = getpass("Password 1: ")',
        "password: FilterOrBool = False",
        "token = tokens[0]",
        "apiKey: process.env.API_KEY1",
        "max_tokens: 4096",
        "token_count=123456789012",
        "PASSWORD_MIN_LENGTH = 12",
        "access_token_url='https://host.example/login/oauth2/access1'",
        "key_file = 'certs/server1.key'",
        "public_key = '9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit'",
        "primary_key: k1a2b3c4",
        "clientId = '73082700-1f09-405b-80d0-3131bfd6272d'",
        "next_page_token: a1b2c3d4e5f6a7b8c9d0",
        "csrf_token = 'a1b2c3d4e5f6a7b8c9d0'",
        "commit 43fc912ef59a83054ea7f6706df4d53a7dea4d80",
        '"integrity": "sha512-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
        "token: sha256:9f86d081884c7d659a2feaa0c55ad015",
        "secret = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ'",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 me@host",
        "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJB\n-----END PUBLIC KEY-----",
        "https://user:password@host",
        "https://user:$PASSWORD@host",
        "docker://alpine:3.12@sha256:abcdef",
        "ssh://git@host:22/x@v2",
        "curl -u name:password https://host",
        'curl -u "$USER:$PASSWORD" https://host',
        "-H 'Authorization: Bearer <token>'",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "AIzaSyabcdefghijklmnopqrstuvwxyz1234567",
        "s.makeKubeConfigController = args",
        "eyJub3QgYSBoZWFkZX.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcdef",
        "7za a x.7z -ppassword -mhe=on y.7z",
        "kind: ConfigMap\ndata:\n  name: bXktdmFsdWUtaGVyZQ==",
        "",
        "\x00\ud800\u0130 \U0001f600",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert find(text) == ()
    assert redact(text) == text


def test_private_keys_go_with_their_armour_and_no_further() -> None:
    body = "\n".join(made(64) for _ in range(5))
    kinds = ("RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PRIVATE KEY", "PGP PRIVATE KEY BLOCK")
    for kind in kinds:
        armour = f"-----BEGIN {kind}-----\nProc-Type: 4,ENCRYPTED\n\n{body}\n-----END {kind}-----"
        assert redact(f"a\n{armour}\nb") == "a\n[redacted: private key]\nb"
    begin = "-----BEGIN " + "PRIVATE KEY-----"
    inline = f'{{"private_key": "{begin}\\n{made(64)}\\n-----END PRIVATE KEY-----\\n", "x": 1}}'
    assert redact(inline) == '{"private_key": "[redacted: private key]", "x": 1}'
    assert redact(f"{begin}\n{body}") == "[redacted: private key]"
    assert redact(f"a {begin} line begins it") == "a [redacted: private key] line begins it"


def test_the_data_of_a_kubernetes_secret_goes_and_that_of_its_neighbours_stays() -> None:
    value = base64.b64encode(PASSWORD.encode()).decode()
    settings = "kind: ConfigMap\ndata:\n  name: bXktdmFsdWUtaGVyZQ==\n"
    data = "data:\n  login: '{0}'\n  # a note\n  pw.txt: {0}\n"
    secret = f"kind: Secret\nmetadata:\n  name: some1thing\n{data}type: Opaque\n"
    mark = "[redacted: kubernetes secret]"
    text = f"{settings}---\n{secret}---\n{settings}"
    assert redact(text.format(value)) == text.format(mark)
    inline = '{{"kind": "Secret", "data": {{"a": "{0}", "b": "{0}"}}, "type": "bXktdmFsdWUtaGVyZQ=="}}'
    assert redact(inline.format(value)) == inline.format(mark)


def test_spans_count_code_points_and_do_not_overlap() -> None:
    token = TOKENS[6][1]
    text = f"\U0001f600 password={token} \u0130 token: '{KEY}'"
    start, second = text.index(token), text.index(KEY)
    assert find(text) == (
        Span(start, start + len(token), "github token"),
        Span(second, second + len(KEY), "secret"),
    )


def test_what_was_redacted_stays_as_it_is() -> None:
    texts = [text.format(secret) for text, secret in NAMED] + [f"key = {token}" for _, token in TOKENS]
    once = [redact(text) for text in texts]
    assert [redact(text) for text in once] == once


def test_what_starts_a_token_stands_in_it() -> None:
    shapes = tokens.table()
    for shape in {shape for found in shapes.words.values() for _, shape in found}:
        assert shape.before == (0,)
        assert all(len(start) > 1 for start in shape.starts)


HOSTILE = [
    *(
        "key=",
        "password:",
        "key ",
        "a=b=",
        'secret="',
        "token='",
        "://a:b@",
        "://",
        "eyJ",
        "eyJ.",
        "A",
        "1",
        "-",
        ".",
        "|",
    ),
    *(
        "Q~",
        "-sk-",
        "T3BlbkFJ",
        " -u a:b",
        "curl -u ",
        "login a password ",
        "basic QUFB ",
        "1//0",
        ":AA",
        "-us1",
        "s.",
    ),
    *(
        "kind: Secret\ndata:\n a: b\n",
        "data:\n",
        "data:{",
        "\u0130key=",
        "passw0rd=a1b2",
        "key:=\t \t ",
        "x1y2z3:token_a:",
    ),
    *(
        "-----BEGIN PRIVATE" + " KEY-----",
        "-----BEGIN PRIVATE" + " KEY-----\n" + "A" * 64 + "\n",
        "aB3" * 12,
        "\ud800",
    ),
]


@pytest.mark.parametrize("unit", HOSTILE, ids=ascii)
def test_no_text_takes_long(unit: str) -> None:
    redact("")
    text = (unit * (CHARS // len(unit) + 1))[:CHARS]
    assert is_bounded(redact, text)


def test_all_starts_together_take_no_longer() -> None:
    shapes = tokens.table()
    starts = [start for found in shapes.words.values() for start, _ in found] + [
        start for start, _ in shapes.inside
    ]
    for text in ("".join(starts), "-".join(starts), ("aB3" * 12).join(starts), "=".join(starts)):
        whole = (text * (CHARS // len(text) + 1))[:CHARS]
        assert is_bounded(redact, whole)
