"""Lists of words for captions, written by hand: what both languages share, what only one has, what denies.

Public names: LOANWORDS, ENGLISH_ONLY, ENDS_NO_SENTENCE, ENGLISH_NEGATION, ENGLISH_NEGATION_ALLOWED, ITALIAN_NEGATION,
ITALIAN_NEGATION_ALLOWED.
"""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# English words that stand in Italian text as they are.
LOANWORDS = _set(
    """
    album arena ballet band bar barbecue barista base baseball basket basketball beagle beat beige bike biker bikers
    bikini billboard bistrot blog blues bmx bob bodyboard boomerang border bowling box boxe boxer brandy breakfast
    brunch budget buggy bulldog bungee bunker burger bus business cabaret cactus cafe caffè camper camping canyon
    cappuccino cardigan cargo carpaccio cartoon cast catamaran chat check cheerleader cheerleaders chef chihuahua
    chopper clown club coach cocker cocktail collage college collie computer container corgi costume country
    couscous cowboy cowgirl cracker crackers cricket croissant croquet cross curling curry dandy design designer
    detective display dj doberman dobermann dolmen donut dragster drifting drink drone dye elite email fan fans
    fashion fast fiction film fitness flag flash flipper food football foulard fox freestyle frisbee gala gallery
    gang garage gas gazebo gel geyser gilet gin golden gossip graffiti grill grizzly guard guru habitat halloween
    hamburger hamster handbike hip hippie hippy hobby hockey hoodie hoop hop hostess hot hotdog hotel hula husky
    iceberg idea igloo internet jazz jeans jeep jet jockey jogging judo jukebox jumbo jump junior karaoke karate
    kart kayak kayaker kebab ketchup kickboxing kilt kimono kit kitesurf kiwi koala labrador lacrosse laptop laser
    leader led leggings lift limousine look loop magenta make manager marina market marketing mascara match media
    menu metal microchip mini mix mohair monitor motel moto motocross mouse musical nylon opera paintball panda
    panorama park parka parkour party pasta patchwork pick pickup picnic pier piercing ping pipe pit pitbull pizza
    playground pogo poker polo pong pony pool pop poster pub pullover puma punk puzzle quad quarterback quiz racing
    radar radio rafting rally ranger rap rapper record redbull relax reporter retriever rider ring rock rocker rodeo
    roller rollerblade rottweiler rover rugby safari sandwich sauna scanner schnauzer scooter scout segway selfie
    senior set setter shampoo shirt shirts shopping shorts show shuttle sidecar sitar skate skateboard skateboarder
    skateboarders skatepark skater skaters ski skilift skimboard slalom slip slogan smartphone smog smoking snack
    snob snowboard snowboarder snowboarders snowboarding snowkite softball spaniel sponsor sport spot spray sprint
    squash staff stand standard star starter stop stress stretching strip studio suite summit sumo super surf surfer
    surfing sushi suv sweater tablet tandem tango tank taxi team teenager tennis terminal terrier test thriller
    ticket tie toast top torero touchdown tour trailer tram transfer trekking trench trend trial trick tricks trio
    troll trolley tshirt tunnel tutu tuxedo tv twist vip virus visa vodka volley wakeboard wakeboarder web wedding
    weekend western wheelie whisky windsurf windsurfer workshop wrestler wrestling yacht yeti yoga yogurt yorkshire
    zebra zoo zoom
    """
)

# English words that no Italian sentence has of its own, so that one copied was not translated. What both languages
# spell alike (a, in, come, do, me, no, sale, due, male, pose) is not here.
ENGLISH_ONLY = _set(
    """
    across after against along among an and another are around as at be been before behind being between big black
    blue boy boys brown but by cat cats child children dog dogs down during eight eleven five for four from girl
    girls grass green had has have having he her his holding into is it its jumping large little looking man many
    men my near next nine not of off old on onto or other others our out over people person playing red riding
    running seven several she sitting six small smiling snow some standing ten that the their them there these they
    this those three through to twelve two under up walking was wearing were which while white who with within
    without woman women yellow you young your
    """
)

# An Italian sentence that ends in one of these was cut.
ENDS_NO_SENTENCE = _set(
    """
    il lo la i gli le l' un una un' di a da in con per tra fra e ed o od ma che mentre dove quando come se del dello
    della dei degli delle dell' al allo alla ai agli alle all' dal dallo dalla dai dagli dalle dall' nel nello nella
    nei negli nelle nell' sul sullo sulla sui sugli sulle sull' col coi alcuni alcune qualche ogni quel quegli è
    sono ha hanno sta stanno viene vengono
    """
)

# What denies, and asks the other language for a denial.
ENGLISH_NEGATION = _set(
    """
    no not without never nobody none nothing neither nor cannot nowhere dont doesnt isnt arent wasnt cant wont didnt
    hasnt havent couldnt shirtless sleeveless shoeless strapless leafless cloudless headless toothless hairless
    hatless stringless
    """
)
ITALIAN_NEGATION = _set(
    """
    non senza nessuno nessuna nessun niente nulla mai né neppure nemmeno neanche privo priva privi prive
    """
)

# What may answer a denial: says it in another way, or does so only sometimes, and by itself asks for none.
ENGLISH_NEGATION_ALLOWED = _set(
    """
    non empty bare barefoot barefooted barechested topless unable fails failing failed misses missing missed lacking
    nude naked off
    """
)
ITALIAN_NEGATION_ALLOWED = _set(
    """
    no scalzo scalza scalzi scalze nudo nuda nudi nude spoglio spoglia spogli spoglie smanicato smanicata smanicati
    smanicate canottiera canottiere canotta canotte sdentato sdentata glabro glabra calvo calva sereno limpido
    vietato vietata divieto manca mancano mancato sconosciuto sconosciuta invisibile invisibili incapace impossibile
    """
)
