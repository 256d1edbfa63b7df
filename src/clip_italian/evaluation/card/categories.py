"""What a caption speaks of, by lists of Italian words written for this project.

A caption belongs to every category one of whose words or phrases it holds, so that categories overlap and some captions
are in none. Lists miss words and mistake others ("calcio" may be a kick); they sort captions, they do not judge them.

Public names: CATEGORIES, WORDS, categories_of.
"""

import re

WORDS: dict[str, str] = {
    "people": """
        adolescente adolescenti adulta adulte adulti adulto agente amica amiche amici amico anziana anziano artista
        artisti atleta atlete atleti bagnante bagnanti ballerina ballerine ballerini ballerino bambina bambine bambini
        bambino bebè bimba bimbe bimbi bimbo biker calciatore calciatori calciatrice cameriera cameriere cantante
        cheerleader ciclista ciclisti coppia corridore corridori cuoca cuoco donna donne famiglia fanciulla fidanzati
        figli figlia figlio folla fotografo fratelli fratello gente giocatore giocatori giocatrice giocatrici lavoratori
        madre mamma medico motociclista motociclisti musicista musicisti neonata neonato nonna nonno nuotatore
        operaio operai padre papà passanti passeggeri persona persone pescatore pilota poliziotti poliziotto pubblico
        ragazza ragazze ragazzi ragazzina ragazzine ragazzini ragazzino ragazzo scalatore sciatore sciatori sciatrice
        signora signore signori skateboarder snowboarder soldati soldato sorella sorelle spettatori sposa spose sposi
        sposo squadra studenti subacqueo surfista surfisti tennista tennisti tifosi tizio turisti uomini uomo
        |un giovane|una giovane|due giovani|i giovani|dei giovani
    """,
    "animals": """
        agnello animale animali anatra anatre anatroccoli ape api aquila asino balena cagna cagnolini cagnolino cammelli
        cammello cane cani capra capre carlino cavalli cavallo cervi cervo cigni cigno colomba colombe coniglio cucciola
        cuccioli cucciolo delfini delfino elefante elefanti falco farfalla foca gabbiani gabbiano gallina galline gallo
        gatti gattini gattino gatto gatta giraffa giraffe gregge insetto labrador leone leoni levrieri levriero lupo
        maiale maiali mandria micio mucca mucche oca oche orsi orso panda pappagalli pappagallo pavone pecora pecore
        pesce pesci piccione piccioni pinguini pony puledri puledro rana scimmia scimmie serpente tartaruga tigre tori
        toro uccelli uccello vitelli vitello volpe zebra zebre
    """,
    "sport": """
        arbitro arrampica arrampicano arrampicata atleta atlete atleti baseball basket battitore bmx boxe calciatore
        calciatori calciatrice calcio canestro canoa ciclismo ciclista ciclisti cricket equitazione football frisbee
        gara ginnasta ginnastica giocatore giocatori giocatrice giocatrici golf grind hockey jogging judo karate kayak
        maratona motocross nuotatore pagaia pallacanestro pallavolo pallanuoto parapendio partita pattina pattinaggio
        pattinatore pattinatori pattinatrice pattini placca placcaggio pugile racchetta racchette rafting rugby
        scalatore sci scia sciano sciatore sciatori sciatrice skate skateboard skateboarder skatepark slittino
        snowboard snowboarder softball stadio surf surfa surfista surfisti tennis tennista tennisti trampolino trick
        wakeboard wakeboarder windsurf
    """,
    "places": """
        aeroporto aula autostrada bagno bosco camera campagna campo casa cascata castello cattedrale chiesa
        città collina colline cortile cucina deserto edifici edificio fattoria ferrovia fiume foresta giardino
        lago mare marciapiede mercato metropolitana molo montagna montagne museo negozi negozio oceano ospedale palazzo
        parcheggio parco piazza piscina pontile ponte porto prato ristorante riva ruscello scogli scogliera scuola
        sentiero skatepark soggiorno spiaggia stadio stagno stanza stazione strada strade torrente ufficio vialetto
        vicolo zoo
    """,
    "colour": """
        arancione arancioni argento azzurra azzurre azzurri azzurro beige bianca bianche bianchi bianco blu celeste
        celesti dorata dorati dorato fulvo gialla gialle gialli giallo grigi grigia grigie grigio lilla marrone marroni
        marroncino multicolore nera nere neri nero rosa rossa rosse rossi rosso turchese verde verdi viola
    """,
    "count": """
        due tre quattro cinque sei sette otto nove dieci dozzina paio coppia entrambi entrambe terzetto trio
    """,
    "position": """
        accanto attorno davanti dentro destra dietro fuori intorno sinistra sopra sotto vicino|in cima|in mezzo
        |di fronte|in primo piano|sullo sfondo|al centro|al bordo|sul bordo|di fianco|a fianco|di lato|da un lato
        |in lontananza|all'interno|tra due|tra le|tra gli|tra i
    """,
}
CATEGORIES = tuple(WORDS)


def categories_of(caption: str) -> tuple[str, ...]:
    """Return the categories that a caption belongs to, in the order of CATEGORIES.

    >>> categories_of("Due cani neri corrono accanto a un bambino sulla spiaggia")
    ('people', 'animals', 'places', 'colour', 'count', 'position')
    >>> categories_of("Un orsacchiotto")
    ()
    """
    folded = " ".join(caption.casefold().replace("’", "'").split())
    return tuple(category for category, pattern in _PATTERNS.items() if pattern.search(folded))


def _pattern(words: str) -> re.Pattern[str]:
    first, *phrases = words.split("|")
    listed = [*first.split(), *(" ".join(phrase.split()) for phrase in phrases)]
    return re.compile(rf"\b(?:{'|'.join(re.escape(one) for one in sorted(listed))})\b")


_PATTERNS = {category: _pattern(words) for category, words in WORDS.items()}
