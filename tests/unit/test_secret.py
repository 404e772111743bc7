"""Secrets and foreign texts: what is found, what is hidden, what a terminal gets."""

from __future__ import annotations

import pytest

from rlhf.secret import cleaned, exposed, hidden, is_secret

OWN = {
    "HF_TOKEN": "hf_canary0001",
    "WANDB_API_KEY": "canary0002longer",
    "HTTPS_PROXY": "http://me:canary0003@proxy:3128",
    "SSH_AUTH_SOCK": "/tmp/some.socket",
    "MY_KEY": "short",
    "HOME": "/home/someone",
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(
            (name, True)
            for name in (
                "HF_TOKEN",
                "WANDB_API_KEY",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_ACCESS_KEY_ID",
                "AWS_SESSION_TOKEN",
                "OPENAI_APIKEY",
                "db_password",
                "RAY_AUTH_TOKEN",
                "PASSWORD",
                "PGPASSWORD",
                "SSHPASS",
                "MYSQL_PWD",
                "GITHUB_PAT",
                "AUTHTOKEN",
                "KEY_PASSPHRASE",
                "TOKEN1",
            )
        ),
        *(
            (name, False)
            for name in (
                "HF_TOKEN_PATH",
                "RAY_AUTH_MODE",
                "TOKENIZERS_PARALLELISM",
                "PWD",
                "OLDPWD",
                "KEYBOARD",
                "MONKEY",
                "PATH",
                "COMPASS_X",
                "NCCL_SOCKET_IFNAME",
                "AWS_SHARED_CREDENTIALS_FILE",
            )
        ),
    ],
)
def test_a_variables_name_says_whether_it_is_a_secret(name, expected):
    assert is_secret(name) is expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models/hf_canary0001/x", "the value of the variable HF_TOKEN"),
        ("pass canary0003", "the value of the variable HTTPS_PROXY"),
        ("http://you:pw@host/data.jsonl", "a password in an URL"),
        ("ftp://you@host:80/data", None),
        ("a short word, /home/someone, /tmp/some.socket", None),
    ],
)
def test_what_a_text_exposes_is_said_without_it(text, said):
    assert exposed(text, OWN) == said


def test_a_variable_that_names_a_file_is_where_a_secret_is_and_not_one(tmp_path):
    assert exposed(f"at {tmp_path}", {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path)}) is None


def test_every_secret_is_hidden_and_nothing_else():
    text = "hf_canary0001 canary0002longer ftp://me:canary0003@proxy:3128 ftp://a:b@c short"
    assert hidden(text, OWN) == "*** *** ftp://***@proxy:3128 ftp://***@c short"


@pytest.mark.parametrize("letter", ["\x1b", "\x07", "\r", "\x9b", "\u202e", "\0", "\x7f"])
def test_a_control_character_reaches_no_terminal(letter):
    shown = cleaned(f"before{letter}[31mafter")
    assert letter not in shown
    assert shown.startswith("before\\")
    assert shown.endswith("[31mafter")


def test_letters_of_all_languages_lines_and_tabs_stay():
    assert cleaned("Größe\t名前\nملف 🙂") == "Größe\t名前\nملف 🙂"


def test_megabytes_of_a_message_become_a_page_and_what_is_cut_is_told():
    shown = cleaned("a" * 3_000_000 + "\n" + "line\n" * 100_000 + "end")
    assert len(shown) < 10_000
    assert "(2,998,000 letters left out)" in shown
    assert "(99,802 lines left out)" in shown
    assert shown.endswith("end")


def test_a_secret_is_hidden_line_by_line_and_as_python_and_an_url_write_it():
    own = {"CREDENTIALS": '{\n  "key": "MIIEcanary"\n}', "DB_PASSWORD": "it's\\a canary/8"}
    for text in (
        '{ "key": "MIIEcanary" }',
        'KeyError: "it\'s\\\\a canary/8"',
        "it%27s%5Ca%20canary/8",
    ):
        assert "canary" not in hidden(text, own), text
    assert hidden("ftp://me:pa@ss1234@host/", {}) == "ftp://***@host/"
