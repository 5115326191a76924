#!/usr/bin/env python3
"""Write little children's stories for training tempera's demo model.

The stories come from a grammar that is part of this file: word lists, places,
toys, animals and about forty plots, all written for this project.  Nothing is
copied from any other text.  The same ``--stories`` and ``--seed`` always give
the same file.

    python3 corpus.py --stories 60000 --seed 1 --out train.txt

Template language (see ``Grammar``):

    [a|b|c]   one of the alternatives, the earlier ones more often;
              an alternative may be empty and may hold further brackets
    <list>    an entry of the word list LEX["list"]
    {x}       a variable of the story: the hero {h} ({H} at the start of a
              sentence), {h.he} {h.him} {h.his} ..., the friend {f}, the
              elder {e}, the toy {o}, the place {p.at} and so on

Every choice is skewed: entry number r has weight r ** -SKEW.  A model trained
on such text has a favourite at each choice, so a low sampling temperature
falls back on the same words and a higher one brings out the rest.
"""

import argparse
import random
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

SEPARATOR = "<|endoftext|>"
MIN_WORDS, MAX_WORDS = 60, 155
SKEW = 0.6


def words(text):
    """Split a comma-separated list, so that the tables below stay readable."""
    return [w.strip() for w in text.replace("\n", " ").split(",") if w.strip()]


# ---------------------------------------------------------------------------
# Word lists.  Order matters: the first entries are used most.
# ---------------------------------------------------------------------------

GIRLS = words("""Lily, Mia, Anna, Rosie, Ella, Nora, Ruby, Zoe, Clara, Poppy, Ivy,
    Maya, Lucy, Tess, Hana, Elsie, Leila, Nina, Sofia, Daisy, Kira, June, Amira, Pia,
    Molly, Ada, Freya, Suri""")
BOYS = words("""Tom, Ben, Max, Sam, Leo, Finn, Jack, Oscar, Theo, Noah, Hugo, Eli,
    Omar, Luca, Kai, Arlo, Felix, Ravi, Otto, Nico, Dan, Toby, Ali, Jonah, Peter, Will,
    Hari, Emil""")
# Pet names and nameless animals have a fixed "he" or "she": a very small model
# cannot keep the pronouns apart where the name gives no hint.
PETS_SHE = words("""Hazel, Clover, Ginger, Honey, Maple, Willow, Dot, Fern, Coco, Pebble,
    Bubbles, Cloud, Bramble, Snowdrop""")
PETS_HE = words("""Pip, Biscuit, Pepper, Button, Nutmeg, Moss, Patch, Pickle, Rusty, Smudge,
    Waffles, Acorn, Scout, Tumble""")
PETS = [name for pair in zip(PETS_HE, PETS_SHE) for name in pair]

# species: (he/she when it has no name, colours or looks, where it lives)
ANIMALS = {
    "cat": ("she", "grey, black, white, orange, striped", "in a warm house on a quiet street"),
    "rabbit": ("he", "white, brown, grey", "in a burrow under a green hill"),
    "dog": ("he", "brown, spotted, black, shaggy", "in a red kennel behind a house"),
    "fox": ("he", "red, golden", "in a den in the forest"),
    "duck": ("she", "yellow, white, brown", "beside a blue pond"),
    "bear": ("he", "brown, big, sleepy", "in a cave near the mountain"),
    "mouse": ("she", "tiny, grey, brown", "in a hole behind the kitchen wall"),
    "frog": ("he", "green, tiny", "on a lily pad in a quiet pond"),
    "squirrel": ("she", "red, grey", "high up in an oak tree"),
    "hedgehog": ("he", "brown, prickly", "under a pile of leaves"),
    "owl": ("she", "white, brown, wise", "in the hollow of an old tree"),
    "turtle": ("he", "green, slow", "near a lazy river"),
    "pig": ("he", "pink, muddy, round", "on a farm with a white gate"),
    "lamb": ("she", "white, woolly", "in a field full of daisies"),
    "goat": ("he", "white, brown, stubborn", "on the side of a rocky hill"),
    "hen": ("she", "red, brown, speckled", "in a hen house on a farm"),
    "pony": ("she", "brown, white, spotted", "in a stable beside a meadow"),
    "elephant": ("he", "grey, big", "in a wide land of tall grass"),
    "lion": ("he", "golden, strong", "in a wide land of tall grass"),
    "monkey": ("he", "brown, noisy", "in the tallest tree in the jungle"),
    "penguin": ("she", "black and white, round", "on a white island of ice"),
    "otter": ("she", "brown, sleek", "in a den beside the river"),
    "badger": ("he", "grey, old", "in a deep den under the roots of a tree"),
    "beaver": ("he", "brown, busy", "in a house of sticks on the river"),
    "mole": ("he", "black, soft", "in a long tunnel under the garden"),
    "deer": ("she", "brown, graceful", "at the edge of a quiet wood"),
    "crow": ("she", "black, clever", "in a nest at the top of a pine tree"),
    "robin": ("he", "red, tiny", "in a nest in the apple tree"),
    "snail": ("she", "slow, tiny", "under a big green leaf"),
    "giraffe": ("she", "tall, spotted", "in a wide land of tall grass"),
    "seal": ("she", "grey, shiny", "on the rocks beside the sea"),
    "raccoon": ("he", "grey, cheeky", "in a hollow log in the woods"),
}

# Heroes that are neither children nor animals: (kind, he/she, home, names)
CREATURES = [
    ("robot", "he", "in a workshop full of tools", "Bolt, Beep, Sprocket"),
    ("dragon", "she", "in a cave on a high mountain", "Ember, Flicker, Smoky"),
    ("princess", "she", "in a castle with seven towers", "Isabel, Flora, Rose"),
    ("prince", "he", "in a castle on a green hill", "Edmund, Arthur, Henry"),
    ("giant", "he", "in a huge house behind the hills", "Bruno, Hum, Grumble"),
    ("fairy", "she", "in a house made of petals", "Misty, Twinkle, Petal"),
    ("king", "he", "in a castle on a green hill", "Rupert, Alfred, Oswin"),
    ("pirate", "she", "on an old ship with red sails", "Jenny, Salty, Marina"),
    ("knight", "he", "in a stone tower beside the road", "Roland, Percy, Gawin"),
    ("queen", "she", "in a castle with seven towers", "Matilda, Ottilie, Jewel"),
    ("wizard", "he", "in a tall and crooked tower", "Albert, Fizz, Merrin"),
]

HOMES = words("""in a small house near the woods, in a little village by the sea,
    in a yellow house on a hill, in a busy town, on a farm with many animals,
    in a cottage at the end of the lane, in a tall house with a blue door,
    in a quiet street near the park, in a house beside the river,
    above the bakery in the middle of town, on a small boat in the harbour,
    in a white house with a big garden, in a snowy village in the mountains,
    next to the old mill""")

# name, "in the ..." phrase, "to the ..." phrase, hiding spots, sights
PLACES = [
    ("the park", "in the park", "to the park",
     "under the bench, behind the big tree, near the swings, in the long grass, beside the slide",
     "ducks on the pond, children on the swings, a dog with a stick, a man with a red balloon"),
    ("the garden", "in the garden", "to the garden",
     "under the rose bush, behind the shed, between the cabbages, next to the gate, in the flower bed",
     "bees on the flowers, a row of carrots, a snail on a leaf, a robin on the fence"),
    ("the forest", "in the forest", "to the forest",
     "under a pile of leaves, behind a fallen log, beside the stream, in a hollow tree, between the roots of an oak",
     "tall green trees, a squirrel with a nut, red mushrooms, a deer in the shade"),
    ("the beach", "on the beach", "to the beach",
     "behind a rock, in the wet sand, under the blue towel, near the rock pool, beside an old boat",
     "white shells on the sand, little waves, a crab in a pool, a ship far away"),
    ("the farm", "on the farm", "to the farm",
     "in the barn, under the cart, behind the haystack, beside the well, near the pig pen",
     "cows in the field, a red tractor, hens in the yard, a sleepy horse"),
    ("the river", "by the river", "to the river",
     "under the bridge, behind a willow tree, between two stones, in the reeds, beside a muddy path",
     "silver fish in the water, a boat with a white sail, a swan and her babies, a green dragonfly"),
    ("the meadow", "in the meadow", "to the meadow",
     "under a big leaf, in the tall grass, behind the stone wall, among the daisies, beside the old gate",
     "yellow flowers, a butterfly, a hare in the grass, sheep on the hill"),
    ("the market", "at the market", "to the market",
     "under a table, behind the fruit stall, next to the fountain, in an empty basket, beside the flower cart",
     "piles of red apples, a woman with fresh bread, a man who sold hats, bright ribbons"),
    ("the lake", "by the lake", "to the lake",
     "under the old boat, behind a bush, near the dock, between the reeds, on a flat stone",
     "a family of ducks, a heron on one leg, water lilies, an old man with a fishing rod"),
    ("the playground", "in the playground", "to the playground",
     "under the slide, behind the swings, inside the tunnel, near the sandpit, beside the fence",
     "a tall slide, children in the sandpit, a girl with a skipping rope, a red seesaw"),
    ("the hill", "on the hill", "to the hill",
     "behind a big stone, under a thorn bush, in a rabbit hole, beside the path, in the soft moss",
     "the whole village far below, clouds like sheep, a kite in the sky, goats on the rocks"),
    ("the pond", "at the pond", "to the pond",
     "under a lily pad, behind a wet log, between the reeds, in the mud, beside a mossy stone",
     "frogs on the lily pads, tiny fish, a blue dragonfly, ducks in a row"),
    ("the orchard", "in the orchard", "to the orchard",
     "under an apple tree, behind the ladder, in a wooden box, in the wheelbarrow, near the beehive",
     "red apples, a ladder against a tree, bees around the blossom, ripe pears"),
    ("the harbour", "at the harbour", "to the harbour",
     "behind a barrel, under a fishing net, on the stone steps, beside a rope, inside a small boat",
     "a ship with three masts, hungry gulls, a fisherman with a full net, a lighthouse"),
    ("the village square", "in the village square", "to the village square",
     "under the bench, behind the fountain, beside the clock tower, near the well, on the church steps",
     "a man with a fiddle, pigeons around the fountain, a cart full of pumpkins, flags in the wind"),
]

# noun phrase, "played" in the past, "play" after "to"
TOYS = [
    ("red ball", "bounced it up and down", "bounce it"),
    ("blue kite", "flew it high in the sky", "fly it"),
    ("teddy bear", "hugged it tightly", "hug it"),
    ("toy boat", "sailed it on the water", "sail it"),
    ("little drum", "played a loud song on it", "play it"),
    ("toy train", "pushed it along a pretend track", "push it along"),
    ("silver bell", "made it ring again and again", "ring it"),
    ("green hat", "wore it with pride", "wear it"),
    ("wooden horse", "rode it like a brave knight", "ride it"),
    ("yellow scarf", "wore it around {h.his} neck", "wear it"),
    ("picture book", "looked at all the pictures", "read it"),
    ("wooden flute", "played sweet music on it", "play it"),
    ("shiny marble", "rolled it along the ground", "roll it"),
    ("toy car", "raced it down the path", "race it"),
    ("rag doll", "rocked it in {h.his} arms", "hold it"),
    ("tin whistle", "blew a merry tune on it", "blow it"),
    ("red wagon", "pulled it up and down the path", "pull it"),
    ("spinning top", "made it spin and spin", "spin it"),
    ("purple umbrella", "twirled it like a dancer", "hold it"),
    ("gold button", "watched it shine in the light", "look at it"),
    ("skipping rope", "skipped until {h.his} legs were tired", "skip with it"),
    ("orange balloon", "let it dance on its string", "hold it"),
    ("little lamp", "turned it on and off", "light it"),
    ("puppet", "made it dance and talk", "make it dance"),
    ("box of crayons", "drew flowers and suns", "draw with it"),
    ("music box", "listened to its soft song", "listen to it"),
]

# thing to learn, how it went wrong, how it went right
SKILLS = [
    ("ride a bike", "wobbled and fell into a bush", "rode all the way down the lane"),
    ("swim", "splashed a lot but did not move", "swam right across the pond"),
    ("whistle", "blew and blew, but only air came out", "whistled a merry tune"),
    ("skate", "slipped and sat down with a bump", "slid over the ice like a swan"),
    ("climb the tall tree", "slid back down to the grass", "sat on the highest branch"),
    ("draw a horse", "drew something that looked like a potato", "drew a fine horse with a long tail"),
    ("play the drum", "dropped both sticks on the floor", "played a song from start to end"),
    ("catch a ball", "missed it every time", "caught it with both hands"),
    ("dance", "tripped and fell flat on the floor", "danced around the whole room"),
    ("bake bread", "took out a loaf as hard as a stone", "baked a soft and golden loaf"),
    ("fly a kite", "watched the kite crash into the mud", "made the kite dance in the sky"),
    ("juggle three apples", "dropped all the apples", "kept all three apples in the air"),
    ("paddle a boat", "went around and around in a circle", "paddled to the other side of the lake"),
    ("jump over the stream", "landed in the cold water", "landed safely on the other side"),
    ("sing the spring song", "forgot all the words", "sang every word loud and clear"),
    ("tie a good knot", "got all tangled up in the rope", "tied a knot that nobody could undo"),
    ("build a tower of ten stones", "knocked the stones over", "built a tower of ten stones"),
    ("stand on one leg", "tipped over like a tree", "stood on one leg and counted to twenty"),
    ("do a cartwheel", "rolled over like a ball", "did three cartwheels in a row"),
    ("count to one hundred", "got lost after twenty", "counted to one hundred with no mistakes"),
]

# fear, what happened, what a wise one said, how it ended
FEARS = [
    ("the dark", "When the lamp went out, {h} hid under the blanket.",
     "The dark is only the day taking a rest",
     "{h.He} looked out of the window and saw a thousand stars."),
    ("thunder", "When the sky went boom, {h} hid under the table.",
     "Thunder is only the clouds clapping their hands",
     "{h.He} clapped back at the clouds each time they boomed."),
    ("deep water", "At the edge of the lake, {h.his} legs began to shake.",
     "The water will hold you up if you trust it",
     "{h.He} put in one foot, and then the other, and soon {h.he} was floating."),
    ("high places", "Halfway up the ladder, {h} could not move.",
     "Look up at the sky and not down at the ground",
     "{h.He} took one step, and then another, until {h.he} was at the very top."),
    ("big dogs", "When a big dog came near, {h} hid behind a tree.",
     "Hold out your hand and let him say hello",
     "The big dog licked {h.his} hand, and it tickled."),
    ("loud noises", "When the drums began to play, {h} put {h.his} hands over {h.his} ears.",
     "A loud noise cannot hurt you, and it can even be fun",
     "{h.He} picked up a pot and a spoon and made a loud noise too."),
    ("spiders", "When {h} saw a spider on the wall, {h.he} gave a scream.",
     "The spider is much smaller than you, and it is very shy",
     "{h.He} sat still and watched the spider make a silver web."),
    ("the wind", "When the wind howled at night, {h} began to cry.",
     "The wind is only singing a song to the trees",
     "{h.He} listened to the song of the wind and began to hum."),
    ("the big slide", "At the top of the slide, {h} would not let go.",
     "Count to three and then say hooray",
     "{h.He} counted to three, let go, and flew down with a great big hooray."),
    ("the old barn", "When the door of the barn creaked, {h} ran away.",
     "Things look less scary when you look at them with a friend",
     "Inside the barn {h.he} found only soft hay and four sleepy kittens."),
    ("the sea", "When the waves came close, {h} ran back up the sand.",
     "The waves only want to play with your feet",
     "{h.He} jumped over a wave, and then over ten more."),
    ("the first day of school", "In front of the school gate, {h} held on tight and would not let go.",
     "Everyone in there is a little bit nervous too",
     "By lunch time {h.he} had two new friends and a new song."),
]

# dish, things at hand, the missing thing, who has it
DISHES = [
    ("apple pie", "apples and flour", "sugar", "the baker"),
    ("chocolate cake", "flour and chocolate", "eggs", "the farmer"),
    ("big pot of soup", "carrots and onions", "salt", "the old woman next door"),
    ("carrot cake", "carrots and flour", "butter", "the farmer"),
    ("loaf of bread", "flour and water", "salt", "the miller"),
    ("plum tart", "plums and sugar", "flour", "the miller"),
    ("bowl of porridge", "oats and honey", "milk", "the cow in the field"),
    ("cherry pie", "cherries and sugar", "butter", "the neighbour"),
    ("honey cake", "flour and eggs", "honey", "the bees"),
    ("fruit salad", "pears and grapes", "apples", "the old man with the orchard"),
    ("pumpkin soup", "pumpkins and cream", "pepper", "the cook"),
    ("berry jam", "sugar and lemons", "berries", "the bear in the woods"),
    ("cheese pizza", "cheese and tomatoes", "flour", "the baker"),
    ("lemon cake", "flour and lemons", "sugar", "the neighbour"),
]

# baby, mother, sound, where the mother was
BABIES = [
    ("duckling", "duck", "peep, peep", "on the other side of the pond"),
    ("kitten", "cat", "mew, mew", "on the step of the blue house"),
    ("puppy", "dog", "yip, yip", "at the gate of the farm"),
    ("lamb", "sheep", "baa, baa", "at the top of the hill"),
    ("chick", "hen", "cheep, cheep", "in the yard behind the barn"),
    ("fawn", "deer", "eep, eep", "at the edge of the wood"),
    ("piglet", "pig", "oink, oink", "in the mud beside the barn"),
    ("calf", "cow", "moo, moo", "in the field with the clover"),
    ("foal", "horse", "nay, nay", "beside the stable door"),
    ("baby owl", "owl", "hoo, hoo", "in the hollow oak tree"),
    ("bear cub", "bear", "grr, grr", "beside the honey tree"),
    ("baby rabbit", "rabbit", "sniff, sniff", "in the burrow under the hedge"),
    ("baby seal", "seal", "ow, ow", "on the flat rocks by the sea"),
]

# who, where stuck, tool, how it was freed
STUCK = [
    ("kitten", "at the top of a tree", "a long ladder", "climbed up slowly and carried the kitten down"),
    ("lamb", "in a thorn bush", "a pair of thick gloves", "pulled the thorns apart so that the lamb could step out"),
    ("beetle", "on its back in the dust", "a small leaf", "turned the beetle over with great care"),
    ("bird", "in an old net", "a small pair of scissors", "cut the net until the bird could spread its wings"),
    ("frog", "at the bottom of a bucket", "a long stick", "put the stick into the bucket like a bridge"),
    ("bee", "in a puddle", "a flower", "held out the flower so that the bee could climb on"),
    ("pony", "in the deep mud", "a strong rope", "pulled and pulled until the mud let go with a pop"),
    ("butterfly", "in a sticky web", "a thin twig", "lifted the threads away one by one"),
    ("fish", "in a tiny pool on the sand", "a bucket of water", "carried the fish back to the sea"),
    ("hedgehog", "in a deep hole", "a wide board", "laid the board down like a ramp"),
    ("squirrel", "under a fallen branch", "a strong pole", "lifted the branch just enough"),
    ("puppy", "behind the garden gate", "an old key", "turned the key, and the gate swung open"),
    ("baby goat", "on a high rock", "a bunch of sweet grass", "held up the grass and showed the way down"),
]

# thing to build, what it was made of, what went wrong
CRAFTS = [
    ("tree house", "wood and nails", "The floor was so crooked that everything rolled away."),
    ("sandcastle", "sand and shells", "A wave came and washed one tower away."),
    ("raft", "logs and rope", "The rope was loose, and the logs floated apart."),
    ("bird house", "wood and paint", "The roof fell off with a bang."),
    ("bridge", "stones and branches", "The first branch broke with a crack."),
    ("blanket den", "chairs and blankets", "The blankets slid down onto their heads."),
    ("snow house", "blocks of snow", "One wall tipped over and made a pile of snow."),
    ("scarecrow", "straw and old clothes", "Its head kept falling off."),
    ("swing", "a board and a rope", "The knot slipped, and the board hit the ground."),
    ("paper lantern", "paper and glue", "The paper tore right down the middle."),
    ("go-kart", "boxes and wheels", "One wheel rolled away down the road."),
    ("little boat", "bark and a big leaf", "The boat turned over and filled with water."),
    ("dolls' house", "boxes and buttons", "The stairs were too big to fit inside."),
    ("rain shelter", "sticks and leaves", "The rain dripped straight through the roof."),
]

GIFTS = words("""a card with a big heart, a necklace of shells, a crown of flowers,
    a painted stone, a woolly scarf, a basket of berries, a jar of honey,
    a picture of the whole family, a wooden spoon, a pot of blue flowers,
    a paper star, a cake with one candle, a song, a bracelet of beads,
    a soft cushion, a small bunch of daisies""")

SEEDS = words("""sunflower, pumpkin, bean, carrot, rose, strawberry plant, tomato plant,
    apple tree, tulip, pea plant, cherry tree, cabbage, lemon tree, watermelon""")

# thing, how it broke, how it was mended
BROKEN = [
    ("blue vase", "a ball flew through the room", "stuck the pieces together with glue"),
    ("kitchen window", "a stone flew from {h.his} hand", "swept up the glass and put in a new pane"),
    ("big plate", "it slipped out of {h.his} hands", "stuck the pieces together with glue"),
    ("flower pot", "{h.he} ran around the corner too fast", "put the flower in a new pot"),
    ("old clock", "{h.he} turned the key too far", "put all the little wheels back inside"),
    ("wooden chair", "{h.he} jumped on it like a horse", "fixed the leg with a nail"),
    ("teapot", "{h.he} bumped into the table", "stuck the handle back on"),
    ("garden gate", "{h.he} swung on it again and again", "put in two new screws"),
    ("red lamp", "{h.he} danced too close to it", "made a new shade out of paper"),
    ("favourite cup", "{h.he} tried to carry too many things", "glued the handle back on"),
    ("picture frame", "{h.he} threw a pillow across the room", "made a new frame out of sticks"),
    ("fence", "{h.he} climbed over it", "nailed the boards back in place"),
]

# noise at night, what it really was
NOISES = [
    ("tap, tap, tap", "a branch that tapped on the window"),
    ("hoo, hoo", "an owl on the roof"),
    ("scratch, scratch", "a mouse with a piece of cheese"),
    ("drip, drip, drip", "the rain as it fell into a bucket"),
    ("creak, creak", "the old door in the wind"),
    ("purr, purr", "a cat who wanted to come in"),
    ("snore, snore", "Grandpa, who was fast asleep in his chair"),
    ("thump, thump", "a rabbit who was dancing in the moonlight"),
    ("crunch, crunch", "a hedgehog who was eating an apple"),
    ("ribbit, ribbit", "a frog in the flower pot"),
    ("click, click", "a beetle inside the lamp"),
    ("splash, splash", "a duck who was swimming in the tub"),
]

TREATS = words("""berries, nuts, cherries, plums, biscuits, apples, honey cakes, pancakes,
    pears, cheese rolls, buns, strawberries, carrots, peaches""")

GIVERS = [
    ("golden fish", "at the edge of the water"), ("tiny fairy", "on a flower"),
    ("kind old wizard", "under an oak tree"), ("talking frog", "on a mossy stone"),
    ("little star", "in the wet grass"), ("silver bird", "on a low branch"),
    ("kind old woman", "beside the road"), ("white horse", "beside a spring"),
    ("green snail", "on a wet leaf"),
]

# what the hero wished for, why it turned out badly
WISHES = [
    ("to be as big as a house", "could not fit through the door or hug a friend"),
    ("to have all the cakes in the world", "got a terrible tummy ache"),
    ("to be able to fly", "flew so high that {h.he} felt cold and alone"),
    ("for a mountain of gold", "had no room left to play"),
    ("for summer all year long", "missed the snow and the autumn leaves"),
    ("to be the fastest of all", "ran so fast that nobody could play with {h.him}"),
    ("never to sleep again", "was so tired that nothing was fun"),
    ("to be invisible", "was bumped into by everyone and asked to play by nobody"),
    ("for a hundred new toys", "did not know which one to pick and had nobody to play with"),
    ("to be the king of the land", "had to sit still on a hard chair all day"),
]

# two colours and the colour they make, with something of that colour
COLOURS = [
    ("blue", "yellow", "green", "frog"), ("red", "yellow", "orange", "pumpkin"),
    ("red", "blue", "purple", "butterfly"), ("red", "white", "pink", "flower"),
    ("black", "white", "grey", "elephant"),
]

SHOWS = [
    ("sing a song", "sang like a bird"), ("tell a joke", "made everyone laugh"),
    ("do a dance", "danced like a leaf in the wind"), ("play the flute", "played without one wrong note"),
    ("read a poem", "read each word with a clear voice"), ("do a magic trick", "pulled a flower out of a hat"),
    ("stand on one leg", "stood as still as a heron"), ("play the fiddle", "made everyone tap their feet"),
]

# For plain picture-book pages: name, plural, sound, food, place to sleep, what it can do
FACTS = [
    ("cat", "cats", "meow", "milk and fish", "in a soft basket", "climb trees"),
    ("dog", "dogs", "woof", "meat and bones", "in a kennel", "run very fast"),
    ("cow", "cows", "moo", "green grass", "in the barn", "give us milk"),
    ("duck", "ducks", "quack", "bread and weeds", "beside the pond", "swim and fly"),
    ("hen", "hens", "cluck", "seeds and corn", "in the hen house", "lay eggs"),
    ("sheep", "sheep", "baa", "grass and clover", "in the field", "give us wool"),
    ("pig", "pigs", "oink", "apples and corn", "in the straw", "roll in the mud"),
    ("horse", "horses", "neigh", "hay and carrots", "in the stable", "pull a cart"),
    ("owl", "owls", "hoo", "mice and beetles", "in a hollow tree", "see in the dark"),
    ("frog", "frogs", "ribbit", "flies", "in the mud", "jump very far"),
    ("bee", "bees", "buzz", "sweet honey", "in a hive", "make honey"),
    ("mouse", "mice", "squeak", "cheese and seeds", "in a small hole", "hide in a shoe"),
    ("lion", "lions", "roar", "meat", "in the tall grass", "run and jump"),
    ("goat", "goats", "maa", "leaves and twigs", "in a shed", "climb steep rocks"),
    ("goose", "geese", "honk", "grass and grain", "beside the river", "fly a long way"),
    ("crow", "crows", "caw", "seeds and worms", "in a tall tree", "solve puzzles"),
]

JOBS = [
    ("baker", "makes bread and cakes", "The bread is warm and brown"),
    ("farmer", "grows food and looks after animals", "The cows know his voice"),
    ("teacher", "helps children to read and write", "The children listen and learn"),
    ("fisherman", "catches fish in a big net", "His boat is small and blue"),
    ("doctor", "helps people who are sick", "She has a kind voice"),
    ("gardener", "plants flowers and trees", "Her roses are red and white"),
    ("painter", "paints pictures with many colours", "His hands are full of paint"),
    ("postman", "brings letters and parcels", "He has a heavy bag"),
    ("cook", "makes soup and pies", "The kitchen smells very good"),
    ("tailor", "sews coats and dresses", "Her needle is thin and sharp"),
    ("carpenter", "builds tables and chairs", "His hammer goes tap, tap"),
    ("sailor", "sails across the sea", "He can tie a hundred knots"),
]

LEX = {
    "happy": words("happy, very happy, glad, full of joy, proud, so happy, delighted, pleased"),
    "sad": words("sad, very sad, upset, unhappy, gloomy, full of sorrow, close to tears"),
    "angry": words("angry, cross, very angry, grumpy, mad, furious"),
    "scared": words("scared, afraid, frightened, worried, nervous, very scared"),
    "tired": words("tired, sleepy, very tired, worn out"),
    "nice": words("kind, gentle, friendly, sweet, good, caring, helpful, good-hearted"),
    "small": words("little, small, tiny, young"),
    "big": words("big, huge, very big, large, tall, enormous"),
    "pretty": words("beautiful, pretty, lovely, bright, shiny, wonderful, colourful, fine"),
    "colour": words("red, blue, yellow, green, white, purple, orange, pink, brown, golden, silver"),
    "trait": words("kind, brave, clever, curious, shy, cheerful, quiet, busy, gentle, playful, funny, "
                   "polite, stubborn, dreamy, careful, friendly, thoughtful, merry, bold"),
    "happily": words("with a smile, happily, with a laugh, cheerfully, with a big smile, softly, kindly"),
    "sadly": words("sadly, in a small voice, with a sigh, quietly, with tears in {h.his} eyes"),
    "walked": words("walked, went, ran, skipped, hurried, wandered, marched, hopped"),
    "found": words("found, saw, spotted, discovered, came across"),
    "then": ["Then", "After that", "Soon", "A little later", "Before long", "At last"],
    "suddenly": ["Suddenly", "All at once", "Just then", "At that moment", "Then"],
    "number": words("three, two, five, four, seven, six, ten, nine, eight, twelve"),
    "relative": words("grandmother, grandfather, aunt, uncle, big sister, big brother, mother, father, cousin"),
    "fruit": words("apple, pear, plum, banana, orange, peach, cherry, carrot, strawberry, bun"),
    "snack": words("some bread and cheese, two apples, a jam sandwich, some nuts and berries, a piece of cake, "
                   "a bowl of warm soup, a handful of cherries, some biscuits and milk"),
    "supper": words("warm soup, bread and honey, hot pancakes, apple pie, vegetable stew, rice and beans, "
                    "porridge, fresh bread, potato pie"),
    "junk": words("an old leaf, a sleepy snail, an empty box, a pile of dust, a broken cup, a grey stone, "
                  "a lost glove, a long worm, an old shoe, a feather"),
    "treasure": words("a pile of gold coins, an old letter, a silver crown, a map of the stars, a tiny music box, "
                      "a heap of bright shells, a book of old stories, a box of colourful beads, a golden key"),
    "hobby": words("play outside, sing, read books, climb trees, paint pictures, run in the grass, "
                   "look at the stars, dance, collect shells, tell stories, jump in puddles, bake cakes, "
                   "swim, watch the clouds, pick flowers, play hide and seek, dig in the sand, "
                   "ask questions, explore, build things, help {h.his} friends, make people laugh"),
    "game": words("played hide and seek, ran races, played tag, climbed trees, rolled down the hill, "
                  "built a castle out of stones, told each other jokes, played ball, danced in a circle, "
                  "sang songs, drew pictures in the sand, splashed in the water, looked for shells, "
                  "pretended to be pirates, flew paper planes"),
    "sun": words("The sun was shining, The sky was blue, It was warm and sunny, The birds were singing, "
                 "A soft wind was blowing, The flowers were open, White clouds sailed across the sky"),
    "grass": words("The grass was wet and cool, The trees were full of birds, The air smelled of flowers, "
                   "Bees were humming in the clover, A rooster was crowing, Somewhere a dog was barking"),
    "sunny": words("sunny, bright, warm, fine, windy, cool, quiet, foggy, misty, golden"),
    "season": words("spring, summer, autumn, winter"),
    "weekday": words("Monday, Saturday, Sunday, Friday, Wednesday, Tuesday, Thursday"),
    "hug": words("gave {h} a big hug, hugged {h}, smiled at {h}, patted {h} on the head, held {h} close"),
    "end": ["[The end.|]", "", "[And that was the best day of all.|It was a very good day.]",
            "[{H} slept well that night.|That night, {h} had sweet dreams.|{H} fell asleep with a smile.]",
            "[{H} and {f} stayed friends for ever.|{H} and {f} laughed about it for a long time.]",
            "[Everyone was happy.|Everyone cheered.|And everyone lived happily ever after.]"],
    "silence": words("it was very quiet, nobody said a word, not a sound could be heard, even the birds were still"),
    "hello": ["Hello", "Good morning", "Hello there", "Good day", "Hi"],
    "ohno": ["Oh no", "Oh dear", "Help", "Goodness me", "Oh my"],
    "hooray": ["Hooray", "Well done", "Yes", "Hurray", "We did it", "Look at that"],
    "yes": ["Yes", "Of course", "Yes, please", "All right", "I would love to"],
}

# Lessons by theme; each goes after "From that day on, {h} ..." or after
# "{H} learned that ...".
LESSONS = {
    "care": (["took good care of {h.his} things", "always put {h.his} things in a safe place",
              "never forgot the {o} again"],
             ["it is good to take care of your things", "two pairs of eyes are better than one"]),
    "share": (["loved to share", "always shared with {h.his} friends", "never kept everything for {h.himself}"],
              ["sharing makes everything more fun", "a toy is more fun with a friend",
               "it feels good to share"]),
    "honest": (["always told the truth", "was never afraid to say sorry", "was honest, even when it was hard"],
               ["it is best to tell the truth", "everyone makes mistakes", "a lie only makes things worse"]),
    "brave": (["was not so afraid any more", "tried new things", "felt a little braver every day"],
              ["being brave means trying even when you are scared",
               "things are often less scary than they seem"]),
    "try": (["never gave up", "kept on trying when things were hard", "was proud of every small step"],
            ["it takes time to learn new things", "if you keep trying, you will get better",
             "you must fall many times before you can fly"]),
    "kind": (["was kind to everyone", "always helped those in need", "looked out for others"],
             ["a small kindness can make a big difference", "it is good to help others",
              "kind deeds always come back to you"]),
    "friend": (["had a new friend", "was never lonely again", "and {f} played together every day"],
               ["a friend can be found in any place", "it is easy to make a friend if you say hello",
                "friends make every day brighter"]),
    "together": (["liked to work together with others", "always asked for help when things were hard"],
                 ["many hands make light work", "it is easier when you work together",
                  "it is all right to ask for help"]),
    "patient": (["was much more patient", "did not mind waiting"],
                ["good things take time", "some things cannot be hurried", "it is worth it to wait"]),
    "tidy": (["kept everything tidy", "tidied up every evening"],
             ["it is easier to find things in a tidy room", "a tidy room is a happy room"]),
    "content": (["was happy just as {h.he} was", "did not wish for silly things any more"],
                ["you should be happy with what you have", "the best things are already near you",
                 "it is good to be yourself"]),
    "listen": (["always listened to {e}", "thought before {h.he} ran off", "was much more careful"],
               ["it is wise to listen", "it is better to be careful than sorry"]),
    "joy": (["looked for something new every day", "always remembered that day", "told everyone about it"],
            ["there is something wonderful in every day", "even a plain day can be an adventure",
             "the world is full of surprises"]),
}

# ---------------------------------------------------------------------------
# Plots.  A blank line starts a new paragraph.  {Day} is a time phrase that
# suits the opening ("One day" after a description, "That morning" after an
# opening that already names the time).
# ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Plot:
    """One story skeleton: its theme, who may be the hero, and its text."""

    name: str
    theme: str
    text: str
    heroes: tuple = ("child", "animal", "creature")
    opening: bool = True  # False: the text brings its own opening
    plain: bool = False   # True: no opening or time phrase that speaks of sun or morning


ALL = ("child", "animal", "creature")
CHILD = ("child",)

PLOTS = [
    Plot("lost toy", "care", """
{H} had a {o}. [{h.He} loved it very much.|It was {h.his} favourite thing in the whole world.|It was a gift from {h.his} <relative>.|{h.He} {o.past} every day.]
{Day}, {h} took the {o} {p.to}. [{h.He} {o.past}.|{h.He} {o.past} for a long time.|]
[But when it was time to go home, the {o} was gone!|Then {h.he} looked down, and the {o} was gone!|But after lunch, {h.he} could not find the {o}.]

["Oh no! Where is my {o}?" cried {h}.|"My {o}! I have lost it!" cried {h}.|{H} felt <sad>. "Where can it be?" {h.he} asked.]
{h.He} looked {spot1}. [It was not there.|There was only <junk>.|No {o}!] {h.He} looked {spot2}. [It was not there either.|Nothing!|{h.He} found <junk>, but no {o}.]
[{F} saw {h} and asked, "What is wrong?" "I lost my {o}," said {h} <sadly>. "I will help you look," said {f}.|Then {f} came along. "Why are you so sad?" asked {f}. "My {o} is gone," said {h}. "Let us look together," said {f}.]

[They looked high and low.|They looked everywhere.|] [Then {f} looked {spot3}.|At last, {f} peeked {spot3}.] ["Here it is!" said {f}.|"Look what I found!" cried {f}.|And there it was!]
{H} was <happy>. ["Thank you, {f.call}!" {h.he} said.|{h.He} hugged the {o} and thanked {f}.] <lesson> <end>
"""),
    Plot("sharing", "share", """
{Day}, {h} got a new {o} from {h.his} <relative>. [{h.He} took it {p.to} and {o.past}.|It was the most beautiful {o} {h.he} had ever seen.]
{F} came by and saw it. ["Can I {o.inf} too?" asked {f}.|"What a <pretty> {o}! May I try it?" asked {f}.|"Can I play with you?" asked {f}.]
["No! It is mine!" said {h}.|"No," said {h}. "I do not want to share."|{H} held the {o} tight. "No, it is only for me," {h.he} said.]

[{F} felt <sad> and walked away.|{F} looked at the ground and went away.|A tear ran down the cheek of {f}.] {H} played alone, but [it was not much fun|it was a little boring|something felt wrong]. [There was nobody to laugh with.|{h.He} kept looking at {f}, who sat alone {spot1}.|"Playing alone is not so nice," {h.he} thought.]

[So {h} went to {f}|{H} thought for a while and then went to {f}|At last, {h} ran after {f}]. ["I am sorry," {h.he} said. "Let us play together."|"You can have a turn," {h.he} said.|"Please come and play with me," {h.he} said.] [{F} smiled.|{F} was <happy>.|{F} laughed and jumped up.] They took turns with the {o} and <game> [until the sun went down|all day|until supper]. <lesson> <end>
"""),
    Plot("fear", "brave", """
{H} was afraid of {fear}. {fear.event} [{h.He} felt so small.|{h.His} heart beat fast.|"I do not like {fear}," {h.he} said.|]
{Day}, {e} [saw that|asked what was wrong|sat down next to {h}]. ["I am scared of {fear}," said {h}.|"Why are you so scared?" asked {e}. "Because of {fear}," said {h} <sadly>.]

["{fear.advice}," said {e}.|{E} took a deep breath and said, "{fear.advice}."] ["Will you stay with me?" asked {h}. "Of course I will," said {e}.|"Are you sure?" asked {h}. "I am sure," said {e}.|{H} thought about that for a long time.]
[So {h} tried to be brave.|{H} took a deep breath.|Slowly, {h} came out.] {fear.end}

["I did it!" cried {h}.|"That was not so bad," said {h}.|"It is fun!" said {h}.] {E} <hug>. ["You were very brave," said {e}.|"I am proud of you," said {e}.|] <lesson> <end>
"""),
    Plot("learning", "try", """
{H} wanted to {skill}. [All {h.his} friends could do it.|{F} could do it very well.|{h.He} thought about it every night.]
{Day}, {h} tried for the first time. {h.He} {skill.fail}. ["Ouch!" said {h}.|"This is too hard!" said {h}.|Some of the others laughed.] [{h.He} wanted to give up.|{h.He} felt <sad>.|{h.He} sat down and kicked a stone.]

["Do not give up," said {f}. "I had to try many times too."|"Nobody can do it the first time," said {e}. "Try again."|{F} came and sat down beside {h}. "Try again, and go slowly this time," said {f}.]
So {h} tried again. And again. [{h.He} tried on Monday, and {h.he} tried on Tuesday.|{h.He} tried in the morning, and {h.he} tried in the evening.|Each day it went a little better.|It was hard work, but {h.he} did not stop.]

[Then, one day, it worked!|And after <number> days, it worked!|At last, it worked!] {H} {skill.win}. ["<hooray>!" shouted {f}.|"Look at me!" cried {h}.|Everyone clapped.] {H} was <happy>. <lesson> <end>
"""),
    Plot("broken thing", "honest", """
{Day}, {h} was playing inside[, even though {e} had said not to|| while the rain fell outside]. Then {broken.how}. Crash! The {broken} [was broken|fell and broke|broke into pieces].
["<ohno>!" cried {h}. "{e.call} will be so angry."|{H} stood very still. {h.His} face turned red.|{H} was <scared>.] [{h.He} wanted to hide it.|{h.He} pushed the pieces under the rug.|{h.He} thought of running away.]

[Soon {e} came in.|When {e} came home, <silence>.] ["Who broke the {broken}?" asked {e}.|"What happened to the {broken}?" asked {e}.]
[At first {h} said nothing. Then {h.he} began to cry.|"Maybe it was the cat," said {h}. But {h.he} felt bad inside.|{H} looked at the floor.] ["It was me," {h.he} said. "I am so sorry."|"I did it," {h.he} said in a small voice. "It was an accident."]

{E} [was quiet for a moment|sighed, and then smiled]. ["Thank you for telling me the truth," said {e}.|"I am a little sad about the {broken}, but I am glad that you told the truth," said {e}.|"It is only a {broken}," said {e}. "You are more important."] Together they {broken.fix}. [Soon it looked almost like new.|It was not perfect, but it was good enough.|] <lesson> <end>
""", ("child", "animal"), plain=True),
    Plot("baking", "together", """
{Day}, {h} wanted to make a {dish} for [{f}|{e}|the whole family|everyone]. {h.He} had {dish.have}, but there was no {dish.need}. ["I cannot make it without {dish.need}," said {h} <sadly>.|"<ohno>! There is no {dish.need}," said {h}.]
["Let us ask {dish.who}," said {f}.|"Maybe {dish.who} can help," thought {h}.]

So {h} and {f} <walked> to {dish.who}. ["Please, may we have some {dish.need}?" asked {h}.|"<hello>!" said {h}. "Do you have some {dish.need} for us?"] ["Yes," came the answer, "if you bring me a piece when it is done."|"Of course," came the answer. "Take as much as you need."|"Yes, but first you must sing me a song," came the answer. So they sang a funny song.]
Back in the kitchen, they mixed and stirred. [{F} had flour on the nose.|There was a big mess on the floor, and they laughed.|They put everything in a big bowl.] [Soon it smelled so good!|Soon the whole house smelled wonderful.]

[At last, the {dish} was ready.|Then the {dish} was done.] It was [hot and sweet|big and golden|the best {dish} in the land]. They shared it with [{dish.who} and all the neighbours|everyone who had helped|{dish.who}]. ["Yum!" said {f}.|"This is the best {dish} ever!" said {f}.|Not one crumb was left.] <lesson> <end>
"""),
    Plot("lost baby", "kind", """
{Day}, {h} was walking {p.at}. [{h.He} heard a small sound.|Something went "{baby.sound}".] {spot1.cap}, {h.he} <found> a little {baby}. It was [all alone|wet and cold|shaking]. "{baby.sound.cap}," it cried.
["Where is your mother?" asked {h}.|"Do not cry," said {h}. "I will help you."|"Poor little {baby}," said {h}. "Are you lost?"] [The {baby} looked up with big eyes.|The {baby} came a little closer.|]

{H} gave it [some water|a warm hug|a soft place to rest]. Then they went to look for its mother. They asked [{f}|an old crow|a busy bee]. ["I have not seen her," was the answer. "But try {place2.at}."|"I heard somebody call {place2.at}," was the answer.] They went {place2.to}, but [she was not there|there was only <junk>].
[The {baby} began to cry again.|"I will not leave you," said {h}.|{H} carried the {baby} in {h.his} arms.]

<then>, they heard a call. There was the mother {baby.mother}, {baby.where}! The {baby} ran to her as fast as it could. [The mother {baby.mother} was so happy that she almost cried.|"Thank you for bringing my baby home," said the mother {baby.mother}.|The mother {baby.mother} licked its head again and again.] {H} was <happy>. <lesson> <end>
"""),
    Plot("rescue", "kind", """
{Day}, {h} and {f} were [on their way {p.to}|playing {p.at}|walking {p.at}]. <suddenly>, they heard a cry for help. A small {stuck} was stuck {stuck.where}! ["Help me, please!" cried the {stuck}.|"I cannot get out!" cried the {stuck}.]
["We must do something," said {h}.|"Do not worry! We will help you," said {h}.|"Poor thing," said {f}. "What can we do?"]

[First {f} tried, but it did not work.|{F} called for help, but nobody came.|They pulled and pushed, but it was no use.] [Then {h} had an idea.|{H} thought hard. "I know!" {h.he} said.] {h.He} ran and got {stuck.tool}. [{F} held it still.|"Be careful," said {f}.|] {H} {stuck.how}.

[The {stuck} was free!|At last, the {stuck} was free.] "Thank you! You are <nice>," said the {stuck}. ["You are welcome," said {h}.|{H} and {f} smiled.] [The next day, the {stuck} came back with a gift. It was {gift}.|The {stuck} waved and went on its way.|From then on, the {stuck} came to visit them every week.] <lesson> <end>
"""),
    Plot("rainy day", "joy", """
{Day}, it rained and rained. {H} [sat by the window|looked at the grey sky|sat on the floor]. ["I am so bored," said {h}.|"I cannot go out to play," said {h} <sadly>.|"Will it ever stop?" asked {h}.]
[Then {f} knocked at the door.|{F} was bored too.] ["I have an idea," said {f}. "Let us pretend!"|"Let us make our own fun," said {f}.]

They turned [the table into a ship|a big box into a castle|the blankets into a cave|the chairs into a long train]. {H} was [the captain|the king of the land|a brave explorer|the driver], and {f} was [a pirate|a hungry shark|a friendly monster|a famous singer]. [They sailed to an island full of {treat}.|They fought a dragon made of pillows.|They found <treasure> under the rug.|They travelled around the whole world before lunch.] ["Land!" shouted {f}.|"This is the best game ever!" said {h}.|They laughed so much that their tummies hurt.]

[When they looked up, the rain had stopped.|They did not even see that the rain had stopped.] [There was a rainbow in the sky.|The sun came out, and the puddles were shining.] ["Shall we go out?" asked {f}. "Not yet," said {h}. "The game is not over!"|They ran out and jumped in every puddle.|"I like rainy days," said {h}.] <lesson> <end>
""", ("child", "animal"), plain=True),
    Plot("birthday gift", "kind", """
{Day}, it was the birthday of {e}. {H} wanted to give {e} something special, but {h.he} had no money. ["What can I do?" {h.he} thought.|]
{h.He} went {p.to} to think. [Then {h.he} met {f}.|{F} was there too.] ["A gift does not have to cost money," said {f}. "You can make one."|"What does {e.your} like best?" asked {f}. {H} thought and thought.]

[{H} had a good idea.|"I know what to do!" said {h}.] {h.He} worked all [morning|day|afternoon] long. [{F} helped a little.|It was not easy, but it was fun.|] When it was done, it was {gift}.

In the evening, {h} [gave it to {e}|ran to {e} with the gift]. ["Did you make this for me?" asked {e}.|"Happy birthday!" said {h}.] [{E} had tears of joy.|{E} was so happy.|] ["This is the best gift of all, because you made it," said {e}.|"I will keep it for ever," said {e}.] {E} <hug>. <lesson> <end>
"""),
    Plot("new friend", "friend", """
{Day}, {h} saw somebody new {p.at}. It was {f.intro}. {F} [sat all alone|stood {spot1} and said nothing|looked at the ground]. [Nobody talked to {f}.|{F} did not know anyone.|]
[{H} was a little shy too, but {h.he} <walked> over and said|{H} did not know what to say. At last, {h.he} <walked> over and said|"Maybe {f.he} is lonely," thought {h}. So {h.he} <walked> over and said], "<hello>! [I am {h}.|Do you want to play?|I like your {o}.]"

[{F} looked up and smiled.|At first {f} was quiet. Then {f.he} smiled.|"Me?" asked {f}.] ["I would love to play with you," said {f}.|"I just moved here," said {f}. "I miss my old home."|"I have never had a friend here," said {f}.] [{H} showed {f} the best places {p.at}.|{H} gave {f} half of a <fruit>.|{H} let {f} hold the {o}.] Together they saw <sights>, and they <game>.

[When it was time to go home, they did not want to say goodbye.|Soon they were laughing like old friends.|The time went by very fast.] ["Will you come back tomorrow?" asked {f}. "Yes, I will," said {h}.|"Thank you for saying hello," said {f}.|"See you tomorrow!" they called.] <lesson> <end>
""", ("child", "animal")),
    Plot("race", "kind", """
{Day}, there was a big race {p.at}. {H} wanted to win the prize, a <pretty> {o}. [{h.He} had practised every morning.|"I will be the first," said {h}.|{F} wanted to win too.]
["Ready, steady, go!" called {e}.|"One, two, three, go!" called {e}.|A whistle blew, and they were off.] {H} ran [like the wind|as fast as {h.he} could]. Soon {h.he} was in front.

<suddenly>, {h} heard a cry. {F} had [fallen over|slipped in the mud|tripped over a root] and could not get up. [{H} looked at the finish. It was so close!|{H} wanted to win so much.|The others just ran by.] But {h.he} stopped and went back. ["Are you hurt?" {h.he} asked.|"Take my hand," {h.he} said.|"Lean on me," {h.he} said.] ["My leg hurts," said {f}.|"You will lose the race," said {f}. "That does not matter," said {h}.]

They crossed the line together, and they were the very last. [But everyone clapped for them.|But nobody laughed. Everyone cheered.] ["You did not win the race," said {e}, "but you have won a true friend."|{E} gave the prize to {h} and said, "A kind heart is better than fast feet."|"That was the best thing I saw today," said {e}.] <lesson> <end>
"""),
    Plot("garden", "patient", """
{Day}, {e} gave {h} a tiny seed. ["Put it in the ground, give it water, and wait," said {e}.|"One day this will be a {seed}," said {e}.] {H} made a small hole in the ground and put the seed inside. [{h.He} gave it water.|{h.He} sang to it.|Then {h.he} sat down and waited.]
The next day, {h} ran to look. There was nothing. ["Where is my {seed}?" asked {h}.|"It is not working!" said {h}.] ["You have to be patient," said {e}.|"Good things take time," said {e}.]

{H} gave it water every day. [The sun was warm, and the rain was soft.|{F} came to look too.|Some days {h.he} forgot to play, but never the seed.] {H} waited one week. {h.He} waited two weeks. [Then, one morning, there was a tiny green leaf!|At last, something green came out of the ground!] ["It is growing!" shouted {h}.|{H} danced for joy.]

[It grew and grew.|Every day it was a little bigger.] By the end of summer, {h} had a <big> {seed}. [It was taller than {f}.|It was the most beautiful {seed} in the village.|{h.He} showed it to everyone.] ["I am glad that I waited," said {h}.|"You took good care of it," said {e}.|{H} was <happy>.] <lesson> <end>
"""),
    Plot("night noise", "brave", """
[It was a dark night.|It was late at night.|One night, the wind was blowing.|The moon was high in the sky.] {h.Intro} [was lying in bed|could not sleep]. [{H} counted sheep, but it did not help.|The house was still.|{H} looked at the shadows on the wall.]
<suddenly>, {h} heard a noise. "{noise.cap}!" [{H} pulled the blanket over {h.his} head.|"What was that?" whispered {h}.|{h.His} heart went boom, boom.] ["Is it a monster?" {h.he} thought.|"Is somebody there?" {h.he} asked.|] There it was again. "{noise.cap}!"

{H} [took a small lamp|called {e}|held {h.his} {o} tight] and [got out of bed|tiptoed across the room]. [Step by step, {h.he} went closer.|The floor was cold.|{h.He} was <scared>, but {h.he} wanted to know.] {h.He} opened the door and looked. [It was not a monster at all!|And what did {h.he} see?] It was only {noise.what}.

[{H} began to laugh.|"Oh, it is only you!" said {h}.|{H} laughed until {h.he} was <tired>.] {h.He} went back to bed and [closed {h.his} eyes|pulled up the blanket]. [Outside, the stars were shining.|"Good night, moon," said {h}.|Soon {h.he} was fast asleep.] <lesson>
""", ("child", "animal"), False),
    Plot("treasure", "joy", """
{Day}, {h} found an old map [under the bed|inside a dusty book|in an old bottle|{spot1}]. It had a big red cross on it. ["It is a treasure map!" said {h}.|"Let us follow it!" said {f}.]
{H} and {f} packed <snack> and set off. [First they went over the hill.|They walked past the old mill.|They crossed the river on a log.] Then they went {p.to}. [They saw <sights>.|The map said to look {spot2}.|"Left or right?" asked {f}. "Left," said {h}.]

They dug and dug. [The ground was hard.|"I am <tired>," said {f}.|They found <junk>, but they did not stop.] At last, {h} hit something hard. Clonk! It was an old box. ["Open it!" said {f}.|The lid was heavy, and they lifted it together.|Their hands were shaking.]

Inside the box was <treasure>. [There was also a note. It said, "For whoever is brave enough to look."|It shone in the sun.|It was better than they had hoped.] ["What shall we do with it?" asked {f}. "We will share it," said {h}.|They took it home and showed it to {e}.|They put in something of their own and hid the box again for someone else to find.] <lesson> <end>
"""),
    Plot("messy room", "tidy", """
{H} never tidied up. There were [socks on the lamp|books on the floor|crumbs in the bed] and [toys under the table|apples behind the door|hats on the chairs]. ["Please tidy up," said {e}. "Later," said {h}.|"You should tidy your room," said {e}. But {h} did not listen.]
{Day}, {f} came to the door. "[Come with me {p.to}!|We are all going {p.to}!] [Bring your {o}!|Do not forget your {o}!]" {H} wanted to go, but where was the {o}?

{H} looked under the bed. There was <junk>. [{h.He} looked behind the door. There was only a pile of [socks|old paper|cups].|] ["I cannot find anything in this mess!" cried {h}.|{h.He} looked and looked.|{H} sat down and was <sad>.] ["Then let us tidy up," said {f}. "I will help you."|"If everything had a place, you would know where to look," said {e}.]
So they [put the books on the shelf|swept the floor|folded the clothes] and [put the toys in the box|sang while they worked].

And there, under the very last pile, was the {o}! ["<hooray>!" said {h}.|{H} was <happy>.|The room looked [bright and big|like new|much nicer].] [Then they ran {p.to} and played until dark.|"Now we can go," said {f}.] <lesson> <end>
""", ("child", "animal")),
    Plot("greed", "share", """
{Day}, {h} found a big basket of {treat} {p.at}. [It was full to the top.|They smelled so good!|There were more than {h.he} could count.] ["All for me!" said {h}.|{H} looked around. Nobody was there. "They are mine," {h.he} said.]
[Soon {f} came by.|{F} smelled the {treat} and came closer.] ["I am so hungry. May I have some?" asked {f}.|"Will you share with me?" asked {f}.] ["No," said {h}. "I found them."|But {h} hid the basket and said, "There is nothing here."]

{H} ate one, and then another, and then ten more. [{h.He} ate and ate.|{h.He} did not stop until the basket was half empty.] Then {h.his} tummy began to hurt. ["Ow, ow, ow!" cried {h}.|{h.He} lay down {spot1} and groaned.|{h.He} could not even stand up.]
[{F} heard {h} and came back.|{F} had not gone far.] ["You ate too much," said {f}. "I will make you some tea."|{F} sat down and held {h.his} hand.|{F} brought some cool water.] [Soon {h} felt better.|After a while, the pain went away.]

["I was greedy, and you were kind," said {h}. "Please, take the rest."|"I am sorry," said {h}. "Let us share the {treat}."] [They sat in the sun and ate together.|{F} took a few and saved the rest for later.|They gave some to everyone they met.] <lesson> <end>
"""),
    Plot("hungry bird", "kind", """
It was a cold winter. [Snow lay on the roofs.|The pond was frozen.|The ground was hard and white.] {h.Intro} looked out and saw a small bird [on the fence|in the snow|on a bare branch]. The bird was [thin and cold|shaking|too weak to sing].
["You must be hungry," said {h}.|"Poor little bird," said {h}.] {h.He} [put some crumbs on the step|broke {h.his} bread in two|filled a small dish with seeds]. [The bird came closer, hop by hop.|At first the bird was afraid.] Then it ate every bit.

The bird came back the next day, and the next. [{H} never forgot to feed it.|Soon it ate from {h.his} hand.|{H} gave it the name {name3}.] [When the wind was too strong, {h} made a little house out of a box.|"You can stay with us until spring," said {h}.|{E} made a little roof to keep off the snow.]

[At last, spring came.|Then the snow melted, and the first flowers came out.] One morning, the bird flew away. {H} was <sad>. ["Will I ever see you again?" {h.he} asked.|{h.He} looked at the sky every day.] But a week later, {h} woke up to a lovely song. The bird was back, and [it had made a nest by the window|it had brought a friend|it sang from morning to night]. <lesson> <end>
""", ("child", "creature"), False),
    Plot("outing", "joy", """
{Day}, {h} went {p.to} with {e}. [They took <snack> in a basket.|{H} wore {h.his} best hat.|{H} had waited for this day all week.] On the way they met {f}, who came along too.
There was so much to see! They saw <sights>. {H} also saw <sights2>. ["What is that?" asked {h}.|"Look at that!" cried {f}.|{H} asked <number> questions, and {e} knew all the answers.]

At noon they sat down {spot1} and ate. [{F} dropped a <fruit>, and a bird flew off with it.|A little ant came and took a crumb.|{H} gave the last <fruit> to {f}.] After that, they <game>. ["I wish this day would never end," said {h}.|{H} laughed so much that {h.he} fell over.|{E} told them a funny story.]
[{H} found a smooth stone and put it in {h.his} pocket.|{F} found a feather and gave it to {h}.|They found a shell shaped like a heart.]

When the sun went down, they went home. {H} was <tired> but <happy>. [They had <supper> for supper.|{E} carried {h} the last part of the way.|"Can we go again tomorrow?" asked {h}.] <lesson> <end>
""", ("child", "animal")),
    Plot("wish", "content", """
{Day}, {h} was walking {p.at}. {giver.where.cap}, {h.he} met a {giver}. [The {giver} was in trouble, and {h} helped.|"<hello>," said the {giver}. "You look like a good soul."|{H} bowed and said, "<hello>."] ["I will give you one wish," said the {giver}.|"You may make one wish," said the {giver}. "Think well."]
{H} did not think for long. {h.He} wished {wish}. [Poof!|There was a flash of light.|] And it came true!

At first it was [wonderful|great fun|like a dream]. But soon, {h} {wish.bad}. ["This is not what I wanted," said {h}.|{H} felt <sad>.|{H} sat down and cried.]
So {h} went back to the {giver}. ["Please, take the wish back," said {h}.|"I am sorry," said {h}. "I made a silly wish."]

The {giver} smiled. ["Now you are wiser than before," said the {giver}.|"Close your eyes and count to three," said the {giver}.] And everything was as it had been. {H} ran [to {f}|home to {e}|all the way home] and was <happy>. <lesson> <end>
"""),
    Plot("slow one", "kind", """
{H} was very fast. {F} was slow. [{H} liked to laugh about it.|"You are as slow as a stone!" {h} always said.] {F} [did not say anything|felt <sad>, but said nothing|only smiled].
{Day}, {h} ran {p.to}. [{h.He} did not look where {h.he} was going.|"I am the fastest of all!" {h.he} shouted.] <suddenly>, {h.he} [fell into a deep hole|got stuck between two rocks|stepped into the soft mud and began to sink]. ["Help! Help!" cried {h}.|{H} called and called.] [But all the fast ones were already far away.|Nobody heard.|A bird flew by but could not help.]

[After a long time, {f} came down the path.|Then {f} came along, slowly, step by step.] ["I am here," said {f}.|"Do not worry," said {f}. "I have a rope."|"Hold on to this branch," said {f}.] {F} pulled, slowly and strongly. [Bit by bit, {h} came out.|It took a long time, but it worked.]

["You are slow," said {h}, "but you never give up. I am sorry that I laughed at you."|"Why did you help me? I was so mean," said {h}. "Because you are my friend," said {f}.|{H} was ashamed. "Thank you, and please forgive me," {h.he} said.] [Then they walked home together, and this time {h} walked slowly too.|{F} smiled. "Let us go home," said {f}.] <lesson> <end>
"""),
    Plot("bridge quarrel", "together", """
{Day}, {h} came to a narrow bridge [over the river|over a deep stream]. At the same time, {f.intro} came from the other side. The bridge was too small for two.
["Go back!" said {h}. "I was here first."|"Let me pass!" said {h}.] ["No, you go back!" said {f}.|"No! I was first," said {f}.] [They looked at each other and were <angry>.|They stamped their feet, and the bridge began to shake.|Neither of them would move.] [The sun rose higher.|An hour went by.|Their lunch got cold.]

A [little ant|small mouse|tiny snail|young bird] saw them. ["Why do you stand there like two trees?" it asked.|"You have been here all day," it said.|] ["If one of you lies down, the other can step over," it said.|"If one waits a moment, both will get home today," it said.]
{H} looked at {f}. [Then they both began to laugh.|How silly they had been!] ["You go first," said {h}.|"I am sorry," said {h}. "Please, you go first."] ["No, you go first," said {f}. And they laughed again.|"Thank you," said {f}. "Next time, I will wait for you."]

[Soon both of them were on the right side.|So both of them got across.] [After that, they met at the bridge every day to talk.|They waved to each other and went home.|The next day they built a wider bridge together.] <lesson> <end>
""", ("animal", "creature", "child")),
    Plot("sick friend", "kind", """
{Day}, {f} did not come out to play. {H} waited {p.at}, but nobody came. ["Where is {f}?" asked {h}.|{H} played alone, but it was no fun.] ["{F} is sick in bed," said {e}.|{E} said, "{F} has a bad cold."]
{H} was <sad>. ["I want to help," said {h}.|"What can I do?" {h.he} asked.] {h.He} made [a pot of hot soup|some sweet tea with honey|a funny card] and put it in a basket. Then {h.he} took {gift}, too.

[{H} walked all the way in the rain.|{H} ran across the field.|It was a long walk, but {h} did not mind.] Knock, knock! [{F} lay in bed with a red nose.|{F} sneezed <number> times.|{F} looked pale.] ["I am so glad to see you," said {f}.|"You came to see me!" said {f}.] {H} sat by the bed and [told a funny story|sang a song|read from a big book]. [{F} laughed and forgot about the cold.|Soon {f} had more colour in the face.|{F} ate everything up.]

[The next day, {f} felt better.|After <number> days, {f} was well again.] ["Your visit was the best medicine," said {f}.|They went out and <game>.] <lesson> <end>
"""),
    Plot("windy hat", "listen", """
{Day}, {h} wanted to go out in [{h.his} new hat|a <colour> hat]. ["Hold on to your hat," said {e}. "It is very windy."|"The wind is strong today," said {e}. "Be careful."] But {h} did not listen and <walked> {p.to}. Whoosh! The wind took the hat right off {h.his} head. ["Come back!" cried {h}.|"My hat!" cried {h}.] {h.He} ran after it. The hat flew over [the fence|a hedge|a field of corn] and past [a sleepy cow|the old mill|a line of washing]. [It rolled down the road like a wheel.|It danced over the river.|Every time {h} came close, the wind took it away again.]

<then>, the hat landed {spot1}. [And who was sitting there? It was {f}.|{F} was there and caught it.] ["Is this your hat?" asked {f}.|"A hat fell from the sky!" laughed {f}.] ["Yes! I have been running after it all day," said {h}.|"Thank you, {f.call}!" said {h}. "You saved my hat."]
[{F} tied a ribbon to the hat. "Now it will stay on," said {f}.|Inside the hat there was a tiny egg. They put it back in its nest.|They took turns to wear it.|]

At home, {e} asked, "Did you hold on to your hat?" {H} [turned red and laughed|told the whole story]. <lesson> <end>
"""),
    Plot("talent show", "brave", """
{Day}, there was going to be a show {p.at}. {H} was going to {show}. [{h.He} had practised for weeks.|{h.He} had practised in front of the mirror.] But when {h.he} saw all the people, {h.he} was <scared>. ["I cannot do it," said {h}.|{h.His} knees began to shake.|{h.His} mouth was dry, and {h.he} wanted to go home.]
["You can do it," said {f}. "Just look at me."|"Take a deep breath," said {e}. "We are all on your side."|{F} held {h.his} hand. "Pretend that they are all cabbages," said {f}.] {H} [laughed a little|nodded|took a deep breath].

Then {h.he} stepped onto the stage. [At first <silence>.|The light was very bright.|Everyone looked at {h.him}.] {H} looked at {f} and began. {h.He} {show.win}. [Nobody moved.|It was even better than at home.|Soon {h.he} forgot that {h.he} was afraid.]

When it was over, everyone clapped and cheered. ["More! More!" they shouted.|"<hooray>!" shouted {f}.] {H} took a bow. [{h.His} cheeks were red, and {h.his} eyes were shining.|{H} was <happy>.] ["I told you so," said {f}.|"That was wonderful," said {e}.] <lesson> <end>
"""),
    Plot("who ate it", "honest", """
{Day}, {e} put a fresh {dish} on the table to cool. When {h} came back, [half of it was gone|a big piece was missing|it was all gone]! ["Who ate the {dish}?" asked {h}.|"<ohno>! Somebody ate the {dish}!" cried {h}.]
[{H} became a detective.|"I will find out," said {h}.] {h.He} saw some crumbs on the floor and followed them {p.to}. [There were more crumbs {spot1}.|There was one crumb {spot1}, and another {spot2}.] [|{h.He} met a goose. "I only eat grass," said the goose.|{h.He} met a snail. "I am too slow to steal," said the snail.]

The last crumb was {spot3}. And there sat {f}, with [a full tummy|jam on the chin|crumbs on the nose]. ["Did you eat the {dish}?" asked {h}.|"Hello, {f.call}," said {h}. "You have something on your face."] {F} [turned red|looked away|began to cry]. ["Yes," said {f}. "I was so hungry, and it smelled so good. I am sorry."|"It was me," said {f}. "I only wanted a little bite."]

["You should have asked," said {h}.|"Come and help us to make a new one," said {h}.] So they made another {dish}, [and it was even bigger|and this time everyone had a piece|and {f} washed all the dishes]. {F} learned that [it is better to ask|the truth is best|it is good to say sorry]. <end>
"""),
    Plot("swapping", "content", """
{H} had a {o}, but {h.he} wanted something better. {Day}, {h} went {p.to} and met a [farmer|boy|woman]. ["Will you swap your {o} for my {o2}?" came the question.|"I will give you my {o2} for your {o}," came the offer.] "<yes>," said {h}, and {h.he} went on with the {o2}.
Then {h} met {f}, who had a {o3}. ["That is nicer than mine," thought {h}.|"I like your {o3} so much," said {h}.] So they swapped.

[But soon {h.he} began to miss the {o}.|But in the evening, {h.he} felt <sad>.] ["My {o} was really the best for me," said {h}.|"I was happy with my {o}," {h.he} said <sadly>.] {h.He} went back to {f}. ["Can we swap again?" asked {h}.|"I made a mistake," said {h}.] ["Of course," said {f}. "I like my {o3} best anyway."|{F} laughed. "I was just going to ask you the same," said {f}.]
Then {h} took the {o2} back, too. At last, {h.he} had {h.his} own {o} again.

[{H} held it tight.|"Welcome home," said {h} to the {o}.|] <lesson> <end>
"""),
    Plot("echo", "joy", """
{Day}, {h} climbed a hill and shouted, "Hello!" "Hello!" said a voice. [{H} looked around, but there was nobody.|{H} was surprised.] "Who are you?" shouted {h}. "Who are you?" said the voice.
["Stop that!" shouted {h}. "Stop that!" said the voice.|"You are silly!" shouted {h}. "You are silly!" said the voice.] {H} was <angry>. {h.He} ran home to {e}. ["There is a rude one in the hills," said {h}. "It says everything I say."|"Somebody in the hills is making fun of me," said {h}.]

{E} smiled. ["Go back and say something nice," said {e}.|"That is your echo," said {e}. "It gives back what you give."] So {h} went back with {f}. "You are my friend!" shouted {h}. "You are my friend!" said the voice. ["I like you!" shouted {f}. "I like you!" said the voice.|"Good night!" shouted {f}. "Good night!" said the voice.]

[{H} and {f} laughed, and the hills laughed too.|{H} began to laugh, and the voice laughed with {h.him}.] ["The echo is nice when we are nice," said {h}.|"It gives back what we give," said {f}.|Then they sang a song, and the whole valley sang along.] <lesson> <end>
"""),
    Plot("mixing colours", "joy", """
{Day}, {h} wanted to paint a {colour.thing} for {e}. But {h.he} needed {colour}, and there was no {colour} in the box. There was only {colour.one} and {colour.two}. ["I cannot paint it now," said {h} <sadly>.|"A {colour.thing} is not {colour.one}!" said {h}.]
{F} sat down to paint, too. [{F} was very messy.|{F} sneezed.|] A drop of {colour.one} fell into the {colour.two}. [{H} was about to be angry.|"Be careful!" cried {h}.] But then they saw it. The two colours ran together and made {colour}!

[|"It is magic!" said {f}.|"Look! It is {colour}!" cried {h}.|"{colour.one.cap} and {colour.two} make {colour}," said {h}. "Who knew?"] {H} painted a <big> {colour} {colour.thing}. [{F} painted {p.the} in all the colours.|Then they painted a rainbow, a house and a <colour> boat.|They tried all the other colours, too.] [Soon there was paint on the table, on the floor and on their noses.|They painted until it was dark.]

{E} loved the picture and hung it on the wall. ["How did you find this colour?" asked {e}. "It was an accident," said {h}.|"It is the best {colour.thing} I have ever seen," said {e}.] <lesson> <end>
""", ("child", "animal")),
    Plot("building", "together", """
{Day}, {h} wanted to build a {craft}. ["I can do it all alone," said {h}.|"I do not need any help," said {h}.] {h.He} took {craft.of} and went to work {p.at}. [{h.He} worked for hours.|It was hard work.|The sun was hot.] {craft.bad}
["This will never work!" cried {h}.|{H} was <angry> and kicked the ground.|{H} sat down and was <sad>.]

{F} came by and saw it. ["May I help you?" asked {f}.|"I can hold it while you work," said {f}.|"I know a trick," said {f}.] [At first {h} wanted to say no. But then {h.he} nodded.|"<yes>," said {h}.|{H} thought about it. "Two are stronger than one," {h.he} said.] {H} [held|carried|pulled], and {f} [pushed|counted|tied]. They [laughed and sang|talked and worked|worked side by side]. [When they were tired, they ate <snack>.|Even {e} came to help.|]

[Before the sun went down, the {craft} was done.|At last, the {craft} was ready.] It was [strong and <pretty>|even better than {h} had hoped|a little crooked, but they loved it]. ["We did it!" they cried.|"It is our {craft}," said {h}.|"Next time, ask me first," said {f} <happily>.] <lesson> <end>
"""),
    Plot("lost way", "listen", """
["Do not go too far," said {e}.|"Stay on the path," {e} always said.] But {Day.low}, {h} saw a <colour> butterfly {p.at}. {h.He} ran after it, [over a hill and past a stream|past the last house and through a hedge|farther and farther]. When the butterfly was gone, {h} looked around. Nothing looked the same. {H} was lost!
[It began to get dark.|The wind was cold.|The trees looked strange.] ["Hello? Is anybody there?" called {h}.|{H} was <scared>.|]

[Then {h.he} saw a small light. It was a firefly.|An old turtle came out of the grass.|A friendly owl flew down from a tree.] ["Are you lost?" it asked. "Follow me."|"I know the way," it said. "Come with me."] ["Thank you," said {h}.|{H} wiped away {h.his} tears.] They went [past the big rock and over the small bridge|through the trees and over the stream|over the field and through the gate]. [{H} sang a song to feel brave.|The stars came out, one by one.|]

And there was {e} with a lamp! ["I was so worried!" said {e}.|"There you are!" cried {e}.] {E} <hug>. ["I am sorry that I went so far," said {h}.|"I will stay on the path next time," said {h}.] [At home there was <supper>.|] <lesson> <end>
""", ("child",)),
    Plot("moon", "joy", """
[One night, {h.intro} looked up at the moon.|The moon was big and round. {h.Intro} looked up at it.|It was a clear night, and the stars were out. {h.Intro} sat at the window.] ["I want to catch the moon," said {h}.|"The moon is so <pretty>," said {h}. "I want to hold it."]
{h.He} climbed [onto a chair|onto the roof|up a tall tree]. The moon was still too far. {h.He} climbed [the highest hill|onto a big rock|up a long ladder]. The moon was still too far. ["Why are you so high up?" asked {h}.|{H} stretched out {h.his} arms, but it was no use.]

{F} was awake, too. ["What are you doing?" asked {f}. "I want to catch the moon," said {h}.|"You cannot reach the moon," said {f}. "But come with me."] {F} took {h} to the pond. There, in the dark water, was the moon! {H} put in a hand, and the moon [broke into a hundred bits of light|began to dance]. When the water was still, it was whole again.

["The moon is in the sky and in the water," said {f}. "It belongs to everyone."|"You cannot keep it, but you can look at it every night," said {f}.] {H} smiled. ["Good night, moon," {h.he} said.|They sat by the pond for a long time.|Then {h.he} yawned and went home to bed.] <lesson>
""", ALL, False),
    Plot("snow day", "joy", """
[One winter morning, {h.intro} woke up and looked outside.|It was a winter morning. {h.Intro} looked out of the window.] [Everything was white!|The whole world was white and still.|Snow was falling, soft and slow.] ["It has snowed!" cried {h}.|"Snow! Snow!" shouted {h}.] {h.He} put on a <colour> scarf and ran out.
{F} was already there. ["Let us build a snowman," said {f}.|"Let us make the biggest snowman in the land," said {f}.] They rolled a <big> ball, and then a smaller one on top. [They used two stones for the eyes and a carrot for the nose.|{E} gave them an old hat and a carrot.] [{H} gave it a <colour> scarf.|They called it {name3}.]

Then they [slid down the hill|threw snowballs|made angels in the snow]. [{H} fell over and was all white.|{F} laughed so loudly that snow fell off the roof.|Their noses were red, and their fingers were cold.] When they were cold, they went in and had <supper>.
[The next week, the sun was warm, and the snowman began to melt.|In spring, the snowman got smaller every day.] {H} was <sad>. ["Do not be sad," said {e}. "The snow will be back next winter."|"He is not gone," said {f}. "He is in the river now, on his way to the sea."] <lesson> <end>
""", ("child", "animal"), False),
    Plot("picnic", "share", """
{Day}, {h} and {f} had a picnic {p.at}. They brought <snack> and a big bag of {treat}. [They put a <colour> blanket on the grass.|They sat down {spot1}.]
<suddenly>, a line of ants came along. [They marched right up to the food.|Each of them took a crumb.] ["Go away!" shouted {h}.|"They want to steal our food!" cried {h}.|{H} was <angry> and wanted to chase them off.]

"Wait," said {f}. ["They are only hungry, just like us."|"They are so small. They cannot eat much."] [One little ant looked up. "We have a hundred babies at home," it said.|] {H} thought about it. [Then {h.he} put a big piece on a leaf for them.|"All right," {h.he} said. "There is enough for everyone."] [The ants carried it away and said, "Thank you! Thank you!"|]

Later, dark clouds came. ["We will get wet!" cried {f}.|] But the ants [showed them a dry cave|led them to a hollow tree|pulled a big leaf over them]. ["You helped us, and now we help you," said the ants.|There they sat until the rain stopped.|] <lesson> <end>
"""),
    Plot("ugly gift", "content", """
{Day}, {e} gave {h} an old {o}. It was [dusty and grey|full of scratches|not very pretty]. [{H} had hoped for something new.|"It is old," thought {h}. But {h.he} said thank you.] {h.He} put it in a corner and forgot about it.
Then {f} came to visit. ["What a wonderful {o}!" said {f}.|"May I see that {o}?" asked {f}.] "It is just an old thing," said {h}. ["Let us clean it," said {f}.|But {f} took a soft cloth and began to rub.] They rubbed and rubbed, and [the {o} began to shine|bright colours came out|there was a tiny name on it]. ["Look!" cried {h}.|{H} could not believe it.]

{H} ran to {e}. ["Where does this come from?" asked {h}.|"Tell me about the {o}," said {h}.] ["I had it when I was as small as you," said {e}. "It was my best friend."|"It once crossed the sea," said {e}. "It has seen more than any of us."|"It was made by hand, a long, long time ago," said {e}.] [{H} listened with wide eyes.|{E} told the story until it was dark.]

From then on, {h} [kept the {o} beside the bed|took the {o} everywhere|shared the {o} with {f}]. [It was {h.his} greatest treasure.|It was worth more than anything new.] <lesson> <end>
"""),
    Plot("lonely", "friend", """
{H} was [lonely|all alone]. {h.He} had nobody to play with. {Day}, {h.he} went to look for a friend. [First {h.he} asked a bee. "I am too busy," said the bee.|First {h.he} asked a cow. "I only want to eat grass," said the cow.|First {h.he} asked the wind, but the wind just blew by.] [Then {h.he} asked a fish. "I cannot leave the water," said the fish.|Then {h.he} asked an owl. "I sleep all day," said the owl.|Then {h.he} asked a cloud, but the cloud did not answer.]
{H} sat down {spot1} and was <sad>. ["Nobody wants to be my friend," said {h}.|A tear fell on the ground.]

"Why are you crying?" asked a voice. It was {f.intro}. ["I am looking for a friend," said {h}. "So am I!" said {f}.|"Because I have no friend," said {h}. {F} smiled. "Now you have one."]

[They went {p.to}, and there they <game>.|They went {p.to} and saw <sights>.] [{F} was small, but {f.he} knew the best games.|{F} knew a lot of jokes.|{H} shared a <fruit> with {f}.] ["Shall we meet again tomorrow?" asked {h}. "Yes, tomorrow and every day," said {f}.|When the stars came out, they were still talking.] <lesson> <end>
""", ("animal", "creature")),
    Plot("bedtime", "joy", """
"Time for bed," said {e}. "[But I am not tired|I do not want to sleep]," said {h}. [{h.He} jumped on the bed.|{h.He} ran around the room.|{h.He} wanted a drink, and then another drink.] ["Shall I tell you a story?" asked {e}.|"Let us say good night to everyone first," said {e}.]
[They said good night to the {o}.|They said good night to the trees and the stars.] [{E} sang a soft song.|{E} sat down on the bed and turned down the lamp.] "Once," said {e}, "there was a little [star|boat|cloud|lamb] that did not want to sleep. It [sailed|went|floated] here and there, and it saw <sights>. [But at last it was so tired that it fell into the sea with a plop.|But in the end it lay down on a soft hill and closed its eyes.]"

["And then?" asked {h} with a yawn.|{H} tried to keep {h.his} eyes open.] ["Then it had a wonderful dream," said {e}.|"Then it slept until morning," said {e}, "just like you."] But {h} did not hear it any more. {h.He} was fast asleep. [{E} smiled and turned off the light.|Outside, the moon was shining.|"Sweet dreams," said {e} softly.] [The end.|]
""", ("child", "animal"), plain=True),
    Plot("helping at work", "together", """
There was once a <nice> {job} who lived in a small village. {job.does} [Everyone in the village liked the {job}.|The {job} worked from morning to night.|] {Day}, the {job} [was sick|had hurt a hand|was much too busy]. ["Who will do my work?" asked the {job}.|"I cannot do it all alone," said the {job}.]
"I will help you," said {h.intro}. [The {job} laughed. "You are so small!"|"You?" asked the {job}. "It is hard work."] "I may be small," said {h}, "but I can [try|learn|work hard]."

So {h} got up early. [First {h.he} made a mess.|First {h.he} did everything wrong.|In the morning, {h.he} was slow.] Then {f} came to help, too. [They worked side by side.|They carried, washed and swept.|They sang while they worked, and it went faster.] By the evening, everything was done. ["How did you do that?" asked the {job}. "We did it together," said {h}.|The {job} could hardly believe it.]

["Thank you," said the {job}, and gave them <snack>.|"You have big hearts," said the {job}.|As a thank you, the {job} gave {h} a {o}.] {H} was <tired> but <happy>. <lesson> <end>
""", ("child", "animal"), False),
    Plot("kite in tree", "together", """
{Day}, {h} and {f} were flying a <colour> kite {p.at}. [|The wind was strong.|The kite went up and up.|It danced in the sky like a bird.] <suddenly>, the string broke, and the kite got stuck in a tall tree. ["<ohno>!" cried {f}.|"Our kite!" cried {h}.]
{H} threw [a stick|a shoe|a ball], and it got stuck, too! [Now they had to laugh.|"This is not going well," said {f}.|]

A [squirrel|crow|monkey|cat] was sitting in the tree. ["You make a lot of noise," it said. "Can I help?"|"Are you looking for this?" it asked.] ["Yes, please! Can you bring us our kite?" asked {h}.|"Please be so kind and bring it down," said {f}.] ["You can have my <fruit>," said {h}.|"Of course," it said. "You only had to ask."]
It climbed to the highest branch and let the kite go. ["<hooray>!" shouted {h} and {f}.|Down came the kite, and it landed right on the head of {f}.]

[They tied the string with a better knot.|All three of them flew the kite until evening.|This time they went to the open field, far away from the trees.] <lesson> <end>
""", ("child", "animal")),
    Plot("farm page", "joy", """
[This is the farm.|Come and see the animals.|There are many animals in the world.|It is morning, and the animals wake up.] The {a1} says {a1.sound}. It likes to eat {a1.food}. It sleeps {a1.bed}. [The {a1} can {a1.can}.|All {a1.many} can {a1.can}.]
The {a2} says {a2.sound}. It [likes|eats] {a2.food}. [It sleeps {a2.bed}.|At night, it sleeps {a2.bed}.] [The {a2} can {a2.can}.|It can {a2.can}, too.]

[Here comes the {a3}.|Look, there is the {a3}!] "{a3.sound.cap}!" says the {a3}. [It wants some {a3.food}.|It is hungry and looks for {a3.food}.] The {a3} can {a3.can}, but it cannot {a1.can}. ["Can you {a2.can}?" asks {h}. "No," says the {a3}, "but I can {a3.can}."|{H} likes the {a3} best, because it can {a3.can}.|{H} gives the {a3} some {a3.food}, and the {a3} is happy.]
[When the sun goes down, the animals go to sleep. Good night, {a1}. Good night, {a2}. Good night, {a3}.|Every animal is different, and every animal is good at something. What can you do?|The {a1}, the {a2} and the {a3} are good friends.]
""", CHILD, False),
    Plot("animal page", "joy", """
The {a1} is [a clever animal|my favourite animal|a fine animal]. It says {a1.sound}. [It sleeps {a1.bed}.|At night, it sleeps {a1.bed}.] It likes to eat {a1.food}. [All {a1.many} can {a1.can}.|And it can {a1.can}!] The {a2} is [different|its friend|not like that]. It says {a2.sound}, and it likes {a2.food}.

{H} has a <small> {a1}. [{H} calls it {name3}.|Its name is {name3}.] Every morning, {h} gives it some {a1.food}. ["{a1.sound.cap}!" says {name3}. That means thank you.|"{a1.sound.cap}!" says {name3} and wants more.] Then they go {p.to}. [There they see <sights>.|They see <sights>, and {name3} is happy.] [{name3} plays with the {a2}.|"Look, {name3}," says {h}, "there is a {a2}."] In the evening, {name3} is <tired> and sleeps {a1.bed}. [{H} sleeps, too.|"Good night, {name3}," says {h}.|What a good day!]
""", CHILD, False),
    Plot("village page", "joy", """
[In our village there are many people.|Many people live in our town.|Everyone in the village has work to do.] The {j1} {j1.does}. {j1.more}. The {j2} {j2.does}. {j2.more}. [And the {j3} {j3.does}. {j3.more}.|Then there is the {j3}, who {j3.does}.]

{H} lives [here|in the village|in our town], too. ["What do you want to be?" asks {e}. {H} does not know yet.|"What will you be when you grow up?" asks {e}. {H} thinks about it.|"What do you want to be?" asks {f}. {H} looks up at the sky.] [On some days {h.he} wants to be a {j1}, and on other days a {j3}.|"Maybe a {j1}," {h.he} says, "or maybe a {j3}."] ["You have a lot of time," says {e}.|"You can be anything, if you work hard and are kind," says {e}.] [Today, {h} is just {h.call}, and that is enough.|So {h} goes {p.to} and plays with {f}.|Then {h} eats a <fruit> and goes out to play.]
""", CHILD, False),
    Plot("seasons page", "joy", """
[There are four seasons in the year.|The year has four seasons.|{H} likes all the seasons.] In spring, [the flowers come out|the birds build their nests|the trees turn green], and {h} [plants seeds in the garden|jumps in the puddles|looks for the first bee]. In summer, [the sun is hot|the days are long|the apples grow], and {h} [swims in the lake|sleeps in the grass|eats {treat} {p.at}].
In autumn, [the leaves turn red and yellow|the wind is strong|the nights get cold], and {h} [flies a kite|looks for nuts in the forest|helps {e} to pick apples]. In winter, [snow falls on the roofs|the pond is frozen|it is dark early], and {h} [builds a snowman|drinks something hot|sits by the fire with {e}].

["Which season do you like best?" asks {e}.|"What is your favourite season?" asks {f}.] ["I like <season>," says {h}, "because then we can play {p.at}."|{H} thinks for a long time. "The one that comes next," {h.he} says.|"All of them," says {h}, "because each one brings something new."] [Then the year begins again.|And so the year goes round and round.]
""", CHILD, False),
]

# The second field tells whether the opening already fixes the time of the
# story.  Those with {h.intro0} are only for heroes who have a name.
OPENINGS = [
    ("Once upon a time, there was {h.intro}. {H} lived {h.home}.", False),
    ("Once upon a time, {h.intro} lived {h.home}.", False),
    ("Once upon a time, in a land far away, there lived {h.intro}.", False),
    ("There was once {h.intro} who lived {h.home}.", False),
    ("{H} was {h.intro0}. {h.He} lived {h.home}.", False),
    ("{H} lived {h.home}.", False),
    ("It was a <sunny> morning. {h.Intro} woke up [early|and looked out of the window|and jumped out of bed].", True),
    ("Once there was {h.intro}.", False),
    ("{Place}, there lived {h.intro}.", False),
    ("A long time ago, {h.intro} lived {h.home}.", False),
    ("<sun>. <grass>. {h.Intro} [sat outside and smiled|was happy|came out to play].", True),
    ("On <weekday>, {h.intro} got up [early|before the sun|with a smile].", True),
    ("{h.Intro} was <trait> and <trait2>.", False),
    ("Early one morning, {h.intro} was already awake.", True),
    ("Long ago, when the hills were young, there lived {h.intro}.", False),
    ("This is the story of {h.intro} who lived {h.home}.", False),
    ('"<hello>!" said {h}. {H} was {h.intro0}, and {h.he} said it to everyone.', False),
    ("It was <season>, and {h.intro} [liked to be outside|had nothing to do|was looking for something to do].", False),
    ("In a small village, there lived {h.intro}.", False),
    ("Deep in the forest, there lived {h.intro}.", False),
    ("Everyone knew {h}. {H} was {h.intro0}.", False),
    ("Last <season>, {h.intro} [learned something new|had an adventure|made a mistake].", False),
    ("Not far from here, {h.intro} lived {h.home}.", False),
    ('"Wake up! Wake up!" said {e}. {h.Intro} opened {h.his} eyes.', True),
    ("By the sea, there lived {h.intro}.", False),
]

# These start a plot at once: the time phrase is followed by the hero.
QUICK_TIMES = words("""One day, One morning, One sunny day, One afternoon, One summer day, One evening,
    One fine day, Yesterday, One windy day""")
AFTER_BACKGROUND = words("""One day, One morning, One sunny day, One afternoon, One summer day,
    One fine morning, One windy day, One spring morning, One autumn day""")
PLAIN_TIMES = words("One day, One morning, One afternoon, One evening, One autumn day")
AFTER_TIME = ["That morning", "Later that day", "After breakfast", "That day", "A little later"]

TRAITS = [
    "{h.He} loved to <hobby>.", "", "{h.He} liked to <hobby> and to <hobby2>.", "{h.He} was very <trait>.",
    "{h.His} best friend was {f.intro}.", "Every day, {h.he} liked to <hobby>.",
    "{h.He} had a friend, {f.intro}.", "{h.He} was <trait>, and {h.he} loved to <hobby>.",
    "{h.He} always wanted to <hobby>.", "{h.He} lived there with {e}.",
]


# ---------------------------------------------------------------------------
# The template language
# ---------------------------------------------------------------------------


class Grammar:
    """Expands templates with skewed random choices."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    @staticmethod
    @lru_cache(maxsize=None)
    def _weights(n, skew):
        return list(accumulate((r + 1) ** -skew for r in range(n)))

    def pick(self, items, skew=SKEW):
        """Choose one item; earlier items are more likely."""
        return self.rng.choices(items, cum_weights=self._weights(len(items), skew))[0]

    def sample(self, items, count, skew=SKEW):
        """Choose `count` different items."""
        left, out = list(items), []
        for _ in range(count):
            out.append(self.pick(left, skew))
            left.remove(out[-1])
        return out

    def expand(self, template, lex):
        """Resolve [..|..] and <..>; {..} is left for str.format."""
        return self._expand(parse(template), lex)

    def _expand(self, nodes, lex):
        out = []
        for kind, value in nodes:
            if kind == "text":
                out.append(value)
            elif kind == "choice":
                out.append(self._expand(self.pick(value), lex))
            else:
                entry = lex[value]
                out.append(self.expand(entry if isinstance(entry, str) else self.pick(entry), lex))
        return "".join(out)


@lru_cache(maxsize=None)
def parse(template):
    """Turn a template into a tuple of ("text"|"choice"|"list", value) nodes."""
    nodes, end = _parse_sequence(template, 0)
    if end != len(template):
        raise ValueError(f"unbalanced brackets in template: {template[:60]!r}")
    return nodes


def _parse_sequence(s, i):
    """Read nodes until "|", "]" or the end; returns (nodes, position)."""
    nodes, start = [], i
    while i < len(s) and s[i] not in "|]":
        if s[i] == "[":
            nodes.append(("text", s[start:i]))
            options = []
            while True:
                option, i = _parse_sequence(s, i + 1)
                options.append(option)
                if s[i] == "]":
                    break
            nodes.append(("choice", tuple(options)))
            i = start = i + 1
        elif s[i] == "<":
            nodes.append(("text", s[start:i]))
            close = s.index(">", i)
            nodes.append(("list", s[i + 1:close]))
            i = start = close + 1
        else:
            i += 1
    nodes.append(("text", s[start:i]))
    return tuple(nodes), i


class Term(str):
    """A phrase with named parts, so templates can say {o} and {o.past}."""

    def __new__(cls, text, **parts):
        self = super().__new__(cls, text)
        for key, value in parts.items():
            setattr(self, key, Term(value))
        return self

    @property
    def cap(self):
        return self[:1].upper() + self[1:]

    @property
    def low(self):
        return self[:1].lower() + self[1:]


class Character:
    """Somebody in the story, with the pronouns that belong to them."""

    def __init__(self, group, kind, she, name=None, adjective="little", look="", home=""):
        self.group, self.kind, self.home = group, kind, home
        self.ref = name or f"the {kind}"           # in the middle of a sentence
        self.cap = name or f"The {kind}"           # at its start
        self.call = name or "my friend"            # when spoken to
        self.named = bool(name)
        self.he, self.him, self.his = ("she", "her", "her") if she else ("he", "him", "his")
        self.himself = self.him + "self"
        self.He, self.His = self.he.capitalize(), self.his.capitalize()
        noun = " ".join(w for w in (adjective, look, kind) if w)
        self.intro0 = f"a {noun}"                  # "Tom was a little boy"
        self.intro = f"a {noun} named {name}" if name else self.intro0
        self.Intro = "A" + self.intro[1:]

    def __str__(self):
        return self.ref

    def __format__(self, spec):
        return self.ref


# ---------------------------------------------------------------------------
# Story building
# ---------------------------------------------------------------------------

ADJECTIVES = words("""little, small, young, kind, clever, curious, cheerful, brave, quiet, busy,
    gentle, playful, funny, shy, happy, dreamy""")


class StoryWriter:
    """Draws characters and things, then fills in one plot per story."""

    def __init__(self, seed):
        self.g = Grammar(seed)

    def character(self, group, taken, she=None, avoid=()):
        """Make a character that shares no name or species with `taken`."""
        g = self.g
        names = {c.ref for c in taken}
        kinds = {c.kind for c in taken} | set(avoid)
        if she is None:
            she = g.rng.random() < 0.5
        adjective = g.pick(ADJECTIVES)
        if group == "child":
            name = g.pick([n for n in (GIRLS if she else BOYS) if n not in names])
            return Character("child", "girl" if she else "boy", she, name, adjective, "", g.pick(HOMES))
        if group == "creature":
            kind, he, home, creature_names = g.pick(CREATURES)
            named = g.rng.random() < 0.7
            return Character(group, kind, he == "she", g.pick(words(creature_names)) if named else None,
                             adjective, "", home)
        named = g.rng.random() < 0.62
        pronoun = "she" if she else "he"
        kind = g.pick([k for k in ANIMALS if k not in kinds and (named or ANIMALS[k][0] == pronoun)], 0.5)
        _, looks, home = ANIMALS[kind]
        look = g.pick(words(looks)) if g.rng.random() < 0.4 else ""
        name = g.pick([n for n in (PETS_SHE if she else PETS_HE) if n not in names]) if named else None
        # Two adjectives in a row are kept only where their order reads well.
        if look in ("tiny", "big", "wise", "old", "slow", "busy", "sleepy", "clever"):
            adjective = ""
        return Character("animal", kind, she, name, adjective, look, home)

    def elder(self, hero, plot):
        """The grown-up of the story, suited to the hero."""
        g = self.g
        if hero.group == "child":
            name, she = g.pick([("Mum", 1), (f"{hero.his} mother", 1), ("Dad", 0), ("Grandma", 1),
                                ("Grandpa", 0), (f"{hero.his} father", 0), (f"{hero.his} aunt", 1),
                                (f"{hero.his} grandmother", 1), (f"{hero.his} uncle", 0)], 0.5)
        elif hero.group == "animal":
            # A wise neighbour would be odd as the one who rules the house.
            wise = ("the old owl", 0) if hero.kind != "owl" else ("the wise old goose", 1)
            family = [(f"{hero.his} mother", 1), (f"{hero.his} father", 0), (f"{hero.his} grandmother", 1),
                      (f"{hero.his} grandfather", 0)]
            outside = plot.name in ("fear", "learning", "race", "talent show", "echo", "garden", "outing")
            name, she = g.pick([wise] + family if outside else family, 0.5)
        else:
            name, she = g.pick([("the wise old woman", 1), ("the old owl", 0), (f"{hero.his} grandmother", 1),
                                ("the old gardener", 0)], 0.5)
        c = Character("elder", "elder", bool(she), name)
        c.cap = name[0].upper() + name[1:]
        relation = name.split()[-1]
        if name.startswith(hero.his):
            c.call, c.your = relation.capitalize(), f"your {relation}"
        else:
            c.call, c.your = c.cap, f"your {name.lower()}" if " " not in name else name
        return c

    def context(self, plot):
        """Draw everything a template may mention.  Returns (variables, word lists)."""
        g = self.g
        weights = {"child": 0.55, "animal": 0.36, "creature": 0.09}
        group = g.rng.choices(plot.heroes, [weights[w] for w in plot.heroes])[0]
        hero = self.character(group, [])
        # Different pronouns keep "he" and "she" unambiguous most of the time.
        she = (hero.he == "he") if g.rng.random() < 0.8 else None
        friend_group = "child" if hero.group == "child" and g.rng.random() < 0.7 else "animal"
        elder = self.elder(hero, plot)
        friend = self.character(friend_group, [hero], she, avoid=("owl",))

        place, place2 = g.sample(PLACES, 2)
        spots = g.sample(words(place[3]), 3)
        sights, sights2 = g.sample(words(place[4]), 2), g.pick(words(place2[4]))
        toys = [Term(t, past=p, inf=i) for t, p, i in g.sample(TOYS, 3)]
        pages = g.sample([a for a in FACTS if a[0] != friend.kind], 3)
        animals = [Term(n, many=m, sound=s, food=f, bed=b, can=c) for n, m, s, f, b, c in pages]
        jobs = [Term(n, does=d, more=m) for n, d, m in g.sample(JOBS, 3)]
        job = jobs[0]
        main_job = Term(job, does=f"The {job} {_past(job.does)}.")
        kinds = {hero.kind, friend.kind}
        t1, t2 = g.sample(LEX["trait"], 2)
        h1, h2 = g.sample(LEX["hobby"], 2)

        v = {
            "h": hero, "H": hero.cap, "f": friend, "F": friend.cap, "e": elder, "E": elder.cap,
            "p": Term(place[0], the=place[0], at=place[1], to=place[2]),
            "place2": Term(place2[0], the=place2[0], at=place2[1], to=place2[2]),
            "spot1": Term(spots[0]), "spot2": Term(spots[1]), "spot3": Term(spots[2]),
            "o": toys[0], "o2": toys[1], "o3": toys[2],
            "skill": self.term(SKILLS, "fail", "win"),
            "fear": self.term(FEARS, "event", "advice", "end"),
            "dish": self.term(DISHES, "have", "need", "who"),
            "baby": self.term([b for b in BABIES if b[1] not in kinds], "mother", "sound", "where"),
            "stuck": self.term([t for t in STUCK if t[0] not in kinds], "where", "tool", "how"),
            "craft": self.term(CRAFTS, "of", "bad"),
            "broken": self.term(BROKEN, "how", "fix"),
            "noise": self.term(NOISES, "what"),
            "giver": self.term(GIVERS, "where"),
            "wish": self.term(WISHES, "bad"),
            "show": self.term(SHOWS, "win"),
            "gift": g.pick(GIFTS), "seed": g.pick(SEEDS), "treat": g.pick(TREATS),
            "a1": animals[0], "a2": animals[1], "a3": animals[2],
            "j1": jobs[0], "j2": jobs[1], "j3": jobs[2], "job": main_job,
            "name3": g.pick([n for n in PETS if n not in (hero.ref, friend.ref)]),
            "Place": g.pick(["In a small village", "On a green hill", "In a big city", "Near the sea",
                             "In a quiet valley", "Behind the hills", "On a small island"]),
        }
        one, two, three, thing = g.pick(COLOURS)
        v["colour"] = Term(three, one=one, two=two, thing=thing)
        lex = dict(LEX, sights=f"{sights[0]} and {sights[1]}", sights2=sights2,
                   trait=t1, trait2=t2, hobby=h1, hobby2=h2)
        if not re.search(r"\{[fF]\}", plot.text):
            lex["end"] = [e for e in LEX["end"] if "{f}" not in e]
        dos, thats = LESSONS[plot.theme]
        lex["lesson"] = g.pick(["From that day on, {h} " + g.pick(dos) + ".",
                                "{H} learned that " + g.pick(thats) + ".", "",
                                "And {h} never forgot that " + g.pick(thats) + ".",
                                "After that, {h} " + g.pick(dos) + "."], 0.4)
        return v, lex

    def term(self, table, *keys):
        """Pick a row of `table`; its first column is the text, the rest its parts."""
        text, *parts = self.g.pick(table)
        return Term(text, **dict(zip(keys, parts)))

    def story(self):
        """Write one story within the word limits."""
        plot = self.g.pick(PLOTS, 0.35)
        while True:  # the plot stays, or else the long ones would be rare
            text = self.attempt(plot)
            if MIN_WORDS <= len(text.split()) <= MAX_WORDS and not clashes(text):
                return text

    def attempt(self, plot):
        """Fill in `plot` once."""
        g = self.g
        v, lex = self.context(plot)
        paragraphs = [" ".join(p.split("\n")) for p in plot.text.strip().split("\n\n")]
        v["Day"] = Term(g.pick(PLAIN_TIMES if plot.plain else AFTER_BACKGROUND))

        if plot.opening:
            # About one story in six starts with its plot ("One day, Tom ...").
            if g.rng.random() < 0.17 and paragraphs[0].startswith("{Day}, {h} "):
                v["Day"] = Term(g.pick(PLAIN_TIMES if plot.plain else QUICK_TIMES))
                paragraphs[0] = paragraphs[0].replace("{h} ", "{h.intro} ", 1)
            else:
                paragraphs[0] = self.opening(plot, v) + " " + paragraphs[0]

        # Two passes: values such as {o.past} may themselves hold {h.his}.
        text = "\n".join(g.expand(p, lex) for p in paragraphs)
        friend = re.search(r"\{[fF]\b", text)
        if friend and friend.start() > 0.8 * len(text):
            return ""  # somebody new must not turn up in the last lines
        if plot.theme != "friend" and g.rng.random() < 0.92:
            text = introduce_friend(text)
        text = text.format_map(v)
        if "{" in text:
            text = text.format_map(v)
        return polish(text)

    def opening(self, plot, v):
        """The first sentences: who the hero is, and often something about them."""
        g = self.g
        fitting = [(text, timed) for text, timed in OPENINGS
                   if (v["h"].named or "{h.intro0}" not in text) and not (plot.plain and timed)]
        text, timed = g.pick(fitting, 0.5)
        if timed:
            v["Day"] = Term(g.pick(AFTER_TIME))
            return text
        # A story about finding a friend must not begin with one.
        strangers = plot.theme == "friend" or plot.name == "bridge quarrel"
        return text + " " + g.pick([t for t in TRAITS if not (strangers and "{f" in t)], 0.4)


def introduce_friend(text):
    """Let the first mention of the friend read "his friend Sam", not just "Sam"."""
    first = re.search(r"\{[fF](\.intro)?\}", text)
    if not first or first.group(1):
        return text
    before = text[:first.start()]
    if before.count('"') % 2:  # inside somebody's words
        return text
    phrase = "{h.His} friend {f}" if first.group(0) == "{F}" else "{h.his} friend {f}"
    return before + phrase + text[first.end():]


# Combinations that are drawn independently but do not go together.
CLASHES = [re.compile(p) for p in (
    r"\b(duck|otter|seal|penguin|frog|beaver|turtle)\b.*(wanted to swim|afraid of (deep water|the sea))",
    r"\b(owl|crow|robin|duck)\b.*wished to be able to fly",
    r"brave (boy|girl|\w+ named).*was afraid of",
    r"bold.*was afraid of",
    r"\b(turtle|snail|slow) .*was very fast",
    r"\bowl\b.*afraid of the dark",
)]


def clashes(text):
    return any(p.search(text.replace("\n", " ")) for p in CLASHES)


def _past(phrase):
    """Put the third-person verbs of a JOBS entry into the past tense."""
    irregular = {"makes": "made", "grows": "grew", "catches": "caught", "brings": "brought",
                 "sews": "sewed", "builds": "built"}

    def fix(match):
        verb = match.group(0)
        if verb in irregular:
            return irregular[verb]
        return verb[:-1] + "ed"

    head, _, tail = phrase.partition(" ")
    tail = tail.replace("and looks", "and looked").replace("who are", "who were")
    return re.sub(r"\w+", fix, head) + " " + tail


def polish(text):
    """Settle spaces, a/an and capitals after the pieces are put together."""
    lines = []
    for line in text.split("\n"):
        line = re.sub(r"\s+", " ", line).strip()
        line = re.sub(r"\b([Aa]) (?=[aeiou])(?!one\b|use|uni)", r"\1n ", line)
        line = re.sub(r"\b([Aa])n (?![aeiouAEIOU])", r"\1 ", line)
        # Sentence starts, also inside an opening quotation mark.  A closing
        # quotation mark after "!" or "?" is often followed by "said", so only
        # ." starts a new sentence there.
        line = re.sub(r'(^"?|[.!?] "?|\." )([a-z])', lambda m: m.group(1) + m.group(2).upper(), line)
        if line:
            lines.append(line)
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="Write made-up children's stories for the demo model.")
    parser.add_argument("--stories", type=int, default=1000, help="how many stories to write (default 1000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random generator (default 1)")
    parser.add_argument("--out", default="-", help="output file, - for standard output (default)")
    args = parser.parse_args()

    writer = StoryWriter(args.seed)
    out = sys.stdout if args.out == "-" else open(args.out, "w", encoding="utf-8", newline="\n")
    with out:
        for _ in range(args.stories):
            out.write(writer.story() + f"\n{SEPARATOR}\n")


if __name__ == "__main__":
    main()
