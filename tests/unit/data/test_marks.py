"""Marks: the span of every message in a text, whatever the template's loops are like."""

from __future__ import annotations

import pytest

from rlhf.data.marks import marked, unmarked
from rlhf.data.template import Template

SAID = "{{ '[' + m['role'] + ':' + m['content'] + ']' }}"
MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
MESSAGES += [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}]
TEMPLATES = {
    "plain": "{% for m in messages %}" + SAID + "{% endfor %}",
    "trimmed": "x\n  {%- for m in messages -%}\n  " + SAID + "  \n {%- endfor -%}  \ny",
    "new lines": "x\n{% for m in messages %}\n" + SAID + "\n{% endfor %}\ny",
    "kept spaces": "x\n  {%+ for m in messages +%}\n" + SAID + "{% endfor +%}\ny",
    "sliced": "{% set rest = messages[1:] %}[user:{{ messages[0].content }}]"
    "{% for m in rest %}" + SAID + "{% endfor %}",
    "filtered": "{% for m in messages if m.role != 'system' %}" + SAID + "{% else %}-{% endfor %}",
    "scanned first": "{% for m in messages %}{% set x = m %} {% endfor %}"
    "{% for m in messages %}" + SAID + "{% endfor %}",
    "nested": "{% for m in messages %}{% for later in messages[loop.index:] %}"
    "{% for k in [1, 2] %}{% endfor %}{% endfor %}" + SAID + "{% endfor %}",
    "by number": "{% for i in range(messages | length) %}{% set m = messages[i] %}"
    + SAID
    + "{% endfor %}",
    "block": "{% for m in messages %}{% set said %}" + SAID + "{% endset %}{{ said }}{% endfor %}",
    "macro": "{% macro say(m) %}" + SAID + "{% endmacro %}"
    "{%- for m in messages %}{{ say(m) }}{% if loop.last %}{% endif %}{% endfor %}!",
    "comment": "{# {% for m in messages %} #}{% for m in messages %}" + SAID + "{% endfor %}",
    "continued": "{% for m in messages %}"
    + SAID
    + "{% if true %}{% continue %}{% endif %}{% endfor %}!",
}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_message_is_found(chatml_with, kind):
    text, spans = Template(chatml_with(TEMPLATES[kind])).trace(MESSAGES)
    wrote = {index: text[start:end].strip() for index, (start, end) in spans.items()}
    wanted = {n: f"[{m['role']}:{m['content']}]" for n, m in enumerate(MESSAGES)}
    if kind == "sliced":
        del wanted[0]
    assert wrote == wanted


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_marked_template_writes_the_same(chatml_with, kind):
    words = chatml_with(TEMPLATES[kind])
    plain = words.apply_chat_template(MESSAGES, tokenize=False)
    again = words.apply_chat_template(
        MESSAGES, tokenize=False, chat_template=marked(TEMPLATES[kind])
    )
    assert unmarked(again)[0] == plain == Template(words).trace(MESSAGES)[0]


def test_a_turn_ends_where_another_message_is_written_into_it(chatml_with):
    # Gemma 4 writes what tools answer inside the turn that called them.
    template = (
        "{% for m in messages %}{% if m.role != 'tool' %}<{{ m.content }}"
        "{% for k in range(loop.index, messages | length) %}{% set n = messages[k] %}"
        "{% if n.role == 'tool' %}({{ n.content }}){% endif %}{% endfor %}>{% endif %}{% endfor %}"
    )
    messages = [
        {"role": "assistant", "content": "call"},
        {"role": "tool", "content": "12:00"},
        {"role": "assistant", "content": "noon"},
    ]
    text, spans = Template(chatml_with(template)).trace(messages)
    assert text == "<call(12:00)><noon>"
    assert [text[slice(*spans[n])] for n in range(3)] == ["<call", "(12:00)", "<noon>"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages | map(attribute='content') | join }}",
        "{% for m in messages %}{{ m | tojson }}{% endfor %}",
        "{% for m in messages %}{{ m.items() | length }}{{ m.content }}{% endfor %}",
    ],
)
def test_where_marks_would_show_there_are_none(chatml_with, template):
    words = chatml_with(template)
    text, spans = Template(words).trace(MESSAGES)
    assert text == words.apply_chat_template(MESSAGES, tokenize=False)
    assert spans == {}
