"""Small MediaWiki dumps for tests."""

from xml.sax.saxutils import escape

HEADER = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="de-x">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <base>https://de.example.org/wiki/Wikipedia:Hauptseite</base>
    <case>first-letter</case>
    <namespaces>
      <namespace key="-2" case="first-letter">Medium</namespace>
      <namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">Datei</namespace>
      <namespace key="10" case="first-letter">Vorlage</namespace>
      <namespace key="14" case="first-letter">Kategorie</namespace>
    </namespaces>
  </siteinfo>
"""
FOOTER = "</mediawiki>\n"


def page(number, text, title=None, ns=0, redirect=None, model="wikitext", timestamp="2024-02-03T04:05:06Z"):
    """One page as it stands in a dump."""
    title = escape(title or f"Seite {number}")
    ns = "" if ns is None else f"    <ns>{ns}</ns>\n"
    redirect = "" if redirect is None else f'    <redirect title="{escape(redirect)}" />\n'
    return (
        f"  <page>\n    <title>{title}</title>\n{ns}    <id>{number}</id>\n{redirect}    <revision>\n"
        f"      <id>{1000 + number}</id>\n      <timestamp>{timestamp}</timestamp>\n"
        f"      <contributor><username>Ann</username><id>77</id></contributor>\n"
        f"      <comment>a &lt;page&gt; comment</comment>\n      <model>{model}</model>\n"
        f'      <text bytes="{len(text)}" xml:space="preserve">{escape(text)}</text>\n    </revision>\n  </page>\n'
    )


def dump(pages, header=HEADER, footer=FOOTER):
    return (header + "".join(pages) + footer).encode()


# Every construct that wikitext_text.py knows, and what is left of it.
WIKITEXT = """__TOC__{{Infobox Ship
| name = [[Pequod]]
| image = {{{bild|x.jpg}}}
}}<!-- a comment -->
The '''Pequod''' (&nbsp;{{IPA|x}}&nbsp;) is a [[ship|''whaling'' ship]] of [[Nantucket]],<ref name="a">{{cite|x}}</ref>
built  by [http://a.example/x ''Ann'' &amp; sons] [http://b.example] <ref name="a" />, see http://c.example.{{efn|no}}

[[Datei:Pequod.jpg|thumb|A [[ship]] of ''Ann'']]
[[File:Pequod.ogg]] [[:Kategorie:Schiffe]] [[Kategorie:Schiffe|P]] [[en:Pequod]] [[Media:x.ogg|hear]]

== The ''crew'' ==
* Ahab, the [[captain]]s
** Starbuck{{!}} first mate
# Ishmael
; Pip : a cabin boy
: who fell
----
{| class="wikitable"
! Name !! Rank
|-
| Queequeg || {| nested |}
|}
Text below the table.<br/>Its second line<sup>2</sup>.

=== Verbatim ===
<nowiki>[[not a link]] &lt;b&gt;</nowiki> and <code>x = ''y''</code>
<pre>
  two  spaces {{kept}}
</pre>
<syntaxhighlight lang="c">
int main() { return a[[0]]; }  // ''
</syntaxhighlight>
Energy is <math>E = m c^2</math>, and so <math></math>on.

<gallery>
Datei:a.jpg|A whale
</gallery>
<div style="x">In a <span>box</span>.</div>
<blockquote>Call me Ishmael.</blockquote>
{{{arg|a default}}}, {{{none}}} &#8211; end.</div>

== References ==
=== Empty ===
<references />

== See also ==
* {{Portal}}

{{Navigation}}
[[Category:Ships]]
"""
PLAIN = """The Pequod is a whaling ship of Nantucket,
built by Ann & sons, see http://c.example.

Kategorie:Schiffe

The crew
- Ahab, the captains
- Starbuck first mate
- Ishmael
Pip: a cabin boy
who fell

Text below the table.
Its second line2.

Verbatim
[[not a link]] <b> and x = y

  two  spaces {{kept}}

int main() { return a[[0]]; }  // ''

Energy is $E = m c^2$, and so on.

In a box.

Call me Ishmael.

a default, – end."""
