import pytest

from ovkd_mm.datasets.annotation_xml import refuse_entities


@pytest.mark.parametrize(
    'declared',
    [
        '<!ENTITY cat "lion">',
        '<!ENTITY cat SYSTEM "file:///etc/passwd">',
        '<!ENTITY % cat SYSTEM "file:///etc/passwd">',
        '<!ELEMENT a ANY> <!ENTITY cat "lion">',
    ],
)
def test_an_entity_is_refused_by_its_name_whether_used_or_not(declared):
    with pytest.raises(ValueError, match="declares the entity 'cat'"):
        refuse_entities(f'<!DOCTYPE a [{declared}]><a/>'.encode())


@pytest.mark.parametrize(
    'content',
    [
        b'<a><name>cat</name></a>',
        b'<a>&lt;cat&gt; &amp; &#99;</a>',  # XML's own
        b'<?xml version="1.0" encoding="utf-8"?><!DOCTYPE annotation SYSTEM "voc.dtd"><annotation/>',
        b'<!DOCTYPE a [<!ELEMENT a ANY>]><a/>',
    ],
)
def test_what_declares_none_passes(content):
    refuse_entities(content)


@pytest.mark.parametrize('content', [b'', b'no XML', b'<a>', b'<a>&cat;</a>'])
def test_what_is_not_well_formed_is_left_to_whoever_parses_it(content):
    refuse_entities(content)


def test_an_entity_is_refused_before_what_is_wrong_behind_it():
    with pytest.raises(ValueError, match="the entity 'cat'"):
        refuse_entities(b'<!DOCTYPE a [<!ENTITY cat "lion">]><a>&cat;')
