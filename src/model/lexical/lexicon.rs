use std::collections::HashMap;

use super::scan::{Scan, fnv, word_hash};

/// What a word or phrase says about style. A word may belong to several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    Common,
    Hedge,
    Certain,
    Must,
    Polite,
    Blunt,
    Connective,
    Formal,
    Colloquial,
    Uncontracted,
    Humour,
    Enthusiasm,
    Dull,
    Vague,
    Unit,
    Reason,
    Asking,
    Closing,
    Refusal,
    You,
    I,
    We,
    Negation,
    Question,
    Softener,
    Grave,
}

/// Number of [`Category`]s.
pub(super) const CATEGORIES: usize = 26;

/// Word lists by category, as a table from hash to a set of categories.
#[derive(Debug)]
pub(super) struct Lexicon {
    /// Words and phrases; a phrase's key is the hash of its words' hashes.
    entries: HashMap<u64, u32>,
    /// First words of phrases, with the longest phrase that each begins.
    starts: HashMap<u64, usize>,
}

impl Lexicon {
    pub(super) fn english() -> Self {
        let mut lexicon = Self { entries: HashMap::new(), starts: HashMap::new() };
        for (category, list) in LISTS {
            for phrase in list.split(',').map(str::trim) {
                let words: Vec<u64> = phrase.split(' ').map(word_hash).collect();
                *lexicon.entries.entry(key(&words)).or_default() |= 1 << *category as u32;
                if words.len() > 1 {
                    let longest = lexicon.starts.entry(words[0]).or_default();
                    *longest = words.len().max(*longest);
                }
            }
        }
        lexicon
    }

    /// All that the counts depend on.
    pub(super) fn description(&self) -> String {
        format!("{LISTS:?}")
    }

    /// Whether a word is among the common ones.
    pub(super) fn is_common(&self, word: u64) -> bool {
        self.entries.get(&key(&[word])).is_some_and(|set| set & (1 << Category::Common as u32) != 0)
    }

    /// Whether a word stands in no list, not even that of common words: a word about the topic.
    pub(super) fn is_topical(&self, word: u64) -> bool {
        !self.entries.contains_key(&key(&[word]))
    }

    /// How often each category occurs. Where phrases overlap each counts.
    pub(super) fn counts(&self, scan: &Scan) -> [f64; CATEGORIES] {
        let mut counts = [0.0; CATEGORIES];
        let mut hashes = Vec::new();
        for (at, word) in scan.words.iter().enumerate() {
            let longest = self.starts.get(&word.hash).copied().unwrap_or(1);
            hashes.clear();
            for word in scan.words[at..].iter().take(longest) {
                hashes.push(word.hash);
                let mut set = self.entries.get(&key(&hashes)).copied().unwrap_or(0);
                while set != 0 {
                    counts[set.trailing_zeros() as usize] += 1.0;
                    set &= set - 1;
                }
            }
        }
        counts
    }
}

fn key(words: &[u64]) -> u64 {
    fnv(words.iter().copied())
}

/// Comma-separated words and phrases in lower case, apostrophes straight.
const LISTS: &[(Category, &str)] = &[
    (
        Category::Common,
        "the, be, to, of, and, a, in, that, have, i, it, for, not, on, with, he, as, you, do, at, this, but, his, by, \
         from, they, we, say, her, she, or, an, will, my, one, all, would, there, their, what, so, up, out, if, about, \
         who, get, which, go, me, when, make, can, like, time, no, just, him, know, take, people, into, year, your, \
         good, some, could, them, see, other, than, then, now, look, only, come, its, over, think, also, back, after, \
         use, two, how, our, work, first, well, way, even, new, want, because, any, these, give, day, most, us, is, \
         are, was, were, been, has, had, did, does, am, being, may, might, must, should, shall, ought, cannot, \
         don't, it's, you're, you'll, i'm, i'd, i'll, i've, can't, won't, isn't, that's, there's, doesn't, didn't, \
         let's, let, very, really, too, more, much, many, such, here, where, why, while, though, although, since, \
         before, until, once, again, still, yet, both, each, every, few, less, least, own, same, off, down, through, \
         between, under, without, within, never, always, often, ever, perhaps, maybe, please, thank, thanks, sorry, \
         need, help, try, keep, start, thing, things, something, anything, nothing, everything, someone, anyone, \
         everyone, kind, sort, lot, bit, sure, right, okay, ok, yes, yeah, hey, oh, wow, great, best, better, worth, \
         want, going, gonna, wanna, got, gotta, does, done, made, tell, ask, answer, question, idea, point, reason, \
         part, case, fact, matter, means, quite, rather, almost, simply, thus, hence, therefore, however, moreover, \
         furthermore, additionally, consequently, accordingly, indeed, instead, otherwise, certainly, definitely, \
         absolutely, probably, possibly, likely, seems, seem, appear, i.e, e.g, etc, love, hope, feel, mind, easy, \
         hard, simple, little, long, short, old, big, small, next, last, another, enough, around, away, else, exactly",
    ),
    (
        Category::Hedge,
        "maybe, perhaps, possibly, probably, might, could, may, seem, seems, seemingly, appear, appears, apparently, \
         somewhat, arguably, roughly, approximately, presumably, supposedly, potentially, conceivably, guess, suppose, \
         suspect, tend, tends, likely, unlikely, unsure, uncertain, i think, i believe, i guess, i feel, i imagine, \
         in my opinion, as far as i know, not sure, not certain, not entirely, could be, may be, might be, it depends, \
         depends, more or less, to some extent, in some cases, if i remember, if i am not mistaken, if i'm not mistaken, \
         i could be wrong, i may be wrong, i might be wrong, no guarantee, hard to say, hard to tell, hard to know, \
         sometimes, usually, in theory, one possibility, can vary, may vary, take this with, do not quote me, \
         don't quote me, double check, worth checking, correct me, or so, sort of, a guess, my guess, tentatively",
    ),
    (
        Category::Certain,
        "definitely, certainly, absolutely, undoubtedly, unquestionably, surely, clearly, obviously, always, never, \
         every time, guaranteed, guarantee, guarantees, without fail, without a doubt, without question, no doubt, \
         beyond doubt, no question, for sure, i am certain, i am sure, i'm certain, i'm sure, i am positive, i know, \
         certain, positive, proven, sure, trust me, believe me, rest assured, there is no better, there's no better, \
         exactly, precisely, completely, totally, entirely, indisputable, undeniable, the best, the only, period, \
         full stop, hands down, mark my words, bank on it, count on it, confident, confidence, best way, right way, \
         right answer, right move, cannot fail, can't fail, cannot go wrong, can't go wrong, will work, works, fact",
    ),
    (
        Category::Must,
        "must, should, shall, need to, have to, has to, ought, required, require, requires, necessary, essential, \
         crucial, imperative, vital, never, always, make sure, be sure, ensure",
    ),
    (
        Category::Polite,
        "please, thank, thanks, thank you, kindly, grateful, appreciate, appreciated, pleasure, welcome, sorry, \
         apologies, apologise, apologize, excuse me, pardon, if you like, if you wish, if you would, if you please, \
         if i may, may i, with respect, respectfully, my pleasure, glad, happy to, delighted, honour, honor, honoured, \
         would you mind, feel free, at your convenience, at your leisure, best wishes, kind regards, warm regards, \
         good question, lovely question, i hope, hope this helps, take your time, do let me know, it would be kind, \
         so kind, kind, gently, forgive, courteous, humbly, sincerely, warmly, wish you, wishing you, all the best",
    ),
    (
        Category::Blunt,
        "stupid, dumb, lazy, silly, ridiculous, nonsense, rubbish, idiot, foolish, pathetic, whining, whine, moan, \
         moaning, fussing, fuss, dithering, dither, complain, complaining, excuses, excuse, wasting, waste, obvious, \
         obviously, duh, come on, grow up, figure it out, get on with it, stop asking, shut, wrong, sloppy, clueless, \
         do not argue, don't argue, pay attention, listen up, listen, look, hurry, quit, stop, enough, move on, \
         deal with it, nobody cares, who cares, not my problem, your problem, your fault, already know, should know, \
         should have known, should already, everyone knows, everybody knows, anyone knows, child could, not hard, \
         how hard, bother, wasted, spare me, pull yourself together, annoying, tiresome",
    ),
    (
        Category::Connective,
        "furthermore, moreover, additionally, consequently, therefore, thus, hence, accordingly, nevertheless, \
         nonetheless, however, whereas, whereby, thereby, therein, subsequently, ultimately, in addition, in conclusion, \
         as a result, in particular, in this regard, with regard to, in order to, for this reason, for instance, \
         on the other hand, in contrast, to begin with, in summary, first and foremost, likewise, similarly, finally, \
         secondly, thirdly, firstly, notably, in this respect, in this context, to this end, in general, it follows",
    ),
    (
        Category::Formal,
        "advisable, recommended, recommend, recommendation, recommendations, preferable, prudent, appropriate, \
         sufficient, considerable, considerations, consideration, regarding, concerning, respect, obtain, require, \
         requires, ensure, utilise, utilize, employ, commence, proceed, procedure, purchase, assist, assistance, \
         facilitate, demonstrate, prior, upon, provided, aforementioned, accordance, matter, measure, measures, \
         approach, method, undertake, beneficial, optimal, adequate, inquiry, enquiry, objective, outcome, principal, \
         primary, subsequent, constitutes, merits, warrants, one should, one may, one ought, it is advisable, it is \
         recommended, it is important, it is essential, it would be, it is preferable, it is customary, individual, \
         individuals, attention, respective, relevant, thorough, desirable, course of action, careful, carefully, such",
    ),
    (
        Category::Colloquial,
        "gonna, wanna, gotta, kinda, sorta, dunno, yeah, yep, yup, nope, nah, hey, hi, ok, okay, cool, stuff, guy, \
         guys, folks, buddy, pal, mate, dude, bro, awesome, super, totally, pretty, a bunch, tons, loads, whatever, \
         anyway, anyways, basically, honestly, literally, like, no biggie, no worries, no sweat, no prob, easy peasy, \
         piece of cake, a ton, a lot, lots, kick, crap, heck, darn, gimme, lemme, ain't, y'all, ya, cuz, cause, til, \
         tho, btw, fyi, imo, lol, plus, just, fine, big deal, nuts, messed, mess around, hang, chill, quick, grab, \
         bit, thing, things, and stuff, or whatever, you know, you guys, good to go, good luck, all set, no big deal, \
         so yeah, i mean, right, sweat, deal, trick, gets, works fine, bunch, sure thing, real, way too, off you go",
    ),
    (
        Category::Uncontracted,
        "do not, does not, did not, is not, are not, was not, were not, cannot, will not, would not, should not, \
         could not, has not, have not, it is, that is, there is, you are, you will, you have, i am, i will, i have, \
         i would, we are, we will, they are, they will, what is, let us, it will, that will, who is, here is",
    ),
    (
        Category::Humour,
        "haha, ha, hehe, lol, joke, jokes, joking, kidding, kid you not, funny, funnily, hilarious, laugh, laughs, \
         laughing, giggle, pun, punchline, silly, clown, circus, comedy, comedian, unicorn, unicorns, wizard, dragon, \
         ninja, ninjas, pirate, zombie, zombies, alien, aliens, dinosaur, squirrel, penguin, penguins, llama, hamster, \
         goldfish, goat, goats, ghost, potato, banana, cheese, pants, socks, sock, underwear, grandmother, grandma, \
         mother in law, uncle, neighbour, neighbours, neighbor, neighbors, cat, cats, blame, revenge, conspiracy, \
         rumour has it, legend, legends, bribe, bribery, witness protection, lawyer, therapist, therapy, divorce, \
         disappointed, judging, judge you, plot twist, spoiler, famous last words, ask me how i know, said nobody, \
         said no one, unlike my, just like my, so they say, allegedly, dance, tiny hat, trophy, medal, applause, \
         oscar, nobel, hollywood, mortal, villain, doom, apocalypse, dramatic, dramatically, secretly, mysteriously, \
         suspiciously, jealous, tears, cry, weep, scream, screaming, faint, panic, hat, hats, cape, hero, heroic, slippers, \
         monkey, monkeys, parrot, parrots, dog, duck, ducks, chicken, cow, donkey, rabbit, snail, snails, slug, moustache, \
         toaster, fridge, sofa, couch, pillow, sandwich, pizza, cake, chocolate, beer, pyjamas, trousers, ice cream, onion, \
         houseplant, houseplants, cactus, parade, podcast, fan club, mirror, union, negotiating, negotiate, truce, votes, \
         asked me, asked for, told me, walked out, laughed, resigned, filed, hired, quit, moved out, fell asleep, ran away, \
         and lost, is mostly, has seen, technically, apparently, somewhere, mostly, imaginary, invisible, famous, heroes, \
         ironically, sadly, no one survived, dignity, ego, existential, midlife, crisis, wise, invented, reportedly, leave town",
    ),
    (
        Category::Enthusiasm,
        "wow, amazing, awesome, fantastic, wonderful, brilliant, incredible, terrific, marvellous, marvelous, superb, \
         excellent, exciting, excited, thrilled, thrilling, delightful, delight, fabulous, gorgeous, glorious, magic, \
         magical, love, loving, adore, hooray, hurray, yay, woohoo, yes, perfect, stunning, spectacular, joy, joyful, \
         fun, best, great, thrill, cannot wait, can't wait, so much fun, so good, favourite, favorite, happy, beautiful, \
         fascinating, inspiring, rewarding, sensational, phenomenal, outstanding, dream, celebrate, passion, cheers, \
         absolutely, energy, sparkle, treat, heaven, adventure",
    ),
    (
        Category::Dull,
        "boring, dull, tedious, meh, routine, ordinary, unremarkable, plain, nothing special, nothing exciting, \
         not exciting, not very exciting, not much, not interesting, it is what it is, whatever, fine, mundane, chore, \
         passable, adequate, average, mediocre, bland, tiresome, drab, no great, hardly, merely, so be it, as usual, \
         the usual, that is life, if you must, i suppose, nothing more than, standard, unexciting, colourless",
    ),
    (
        Category::Vague,
        "thing, things, stuff, something, somehow, various, several, different, general, generally, certain, some, \
         many, factors, factor, aspects, aspect, ways, options, option, situation, situations, circumstances, needs, \
         preferences, overall, basically, important, best, right, good, better, balance, possible, possibilities, \
         a lot, lots, etc, and so on, or so, kind of, sort of, depends, depend, vary, varies, considered, consider, \
         approach, approaches, matters, matter, works for you, right for you, all kinds, all sorts, everyone, everything, \
         whatever, people, person, case, cases, method, methods, picture, plan, basics, information, idea, ideas, kind, \
         some kind, role, needs, need, usual, proper, properly, suitable, way, others, other people, like that, certain things, \
         open mind, bigger picture, right things, wrong things, as needed, step at a time, see what happens, feels right, many people, in general, keep in mind, bear in mind, at the end of the day",
    ),
    (
        Category::Unit,
        "second, seconds, minute, minutes, hour, hours, day, days, week, weeks, month, months, year, years, gram, grams, \
         kilo, kilos, kilogram, kilograms, ounce, ounces, pound, pounds, litre, litres, liter, liters, cup, cups, \
         tablespoon, tablespoons, teaspoon, teaspoons, metre, metres, meter, meters, centimetre, centimetres, inch, \
         inches, foot, feet, mile, miles, kilometre, kilometres, kilometer, kilometers, degree, degrees, celsius, \
         fahrenheit, percent, per cent, half, quarter, third, thirds, dozen, once, twice, times, two, three, four, \
         five, six, seven, eight, nine, ten, eleven, twelve, fifteen, twenty, thirty, forty, fifty, sixty, ninety, \
         hundred, thousand, million, dollar, dollars, euro, euros, monday, friday, saturday, sunday, january, february, \
         march, april, june, july, august, september, october, november, december, spring, summer, autumn, winter, \
         overnight, morning, evening, noon, midnight",
    ),
    (
        Category::Reason,
        "because, since, so that, as a result, therefore, hence, thus, due to, otherwise, that way, which means, as",
    ),
    (
        Category::Asking,
        "what is your, what are your, what do you, what have you, what would you, what's your, which, how many, how much, \
         how long, how often, how big, how old, how do you, do you have, do you, are you, have you, is there, is it, \
         can you, could you, would you, where do, where are, when do, when did, who, tell me, let me know, share, \
         i would like to know, i am curious, i'm curious, curious, what about you, your thoughts, your situation, \
         what kind, what sort, what made, what matters, more about, happy to hear, i'd love to hear, i would love to hear",
    ),
    (
        Category::Closing,
        "that is all, that's all, that is it, that's it, that settles, that covers, nothing more, nothing else, \
         no more to, no need, no further, the end, in short, end of story, end of the matter, all there is, all you need, \
         case closed, enough said, the whole answer, the whole story, to sum up, in conclusion, no questions, \
         is complete, complete answer, leave it at that, there you have it, and done, stands as it is, as it stands",
    ),
    (
        Category::Refusal,
        "i cannot, i can't, i am unable, i'm unable, as an ai, as a language model, i am not able, i'm sorry, sorry but, \
         i don't have, i do not have, not appropriate, inappropriate, consult a, seek professional",
    ),
    (Category::You, "you, your, yours, yourself, you're, you'll, you've, you'd, u, ya, y'all"),
    (Category::I, "i, me, my, mine, myself, i'm, i'll, i've, i'd"),
    (Category::We, "we, us, our, ours, ourselves, we're, we'll, we've, we'd, let's"),
    (
        Category::Negation,
        "no, not, never, none, nothing, nobody, nor, neither, without, cannot, don't, doesn't, didn't, isn't, aren't, \
         wasn't, weren't, can't, couldn't, won't, wouldn't, shouldn't, hasn't, haven't, ain't",
    ),
    (
        Category::Question,
        "what, which, who, whose, whom, when, where, why, how, what's, who's, where's, how's",
    ),
    (
        Category::Grave,
        "serious, seriously, seriousness, sober, soberly, grave, gravely, gravity, earnest, solemn, sombre, severe, \
         consequence, consequences, concern, concerns, responsibility, neglect, danger, dangerous, risk, risks, stakes, \
         grief, tragic, urgent, warning, weighty, critical, lasting, trivial, duty, harm, damage, strict, cost, caution, \
         no laughing matter, no joke, not a joke, important, significant, deserves, real",
    ),
    (
        Category::Softener,
        "a little, a bit, slightly, quite, rather, fairly, if possible, if you can, if you want, where possible, \
         would, try, consider, suggest, suggestion, option, feel, one way, one option, can, help, helps",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_count_wherever_they_stand() {
        let lexicon = Lexicon::english();
        let counts = lexicon.counts(&Scan::new("In my opinion it works. I could be wrong; thank you!"));
        assert_eq!(counts[Category::Hedge as usize], 4.0, "in my opinion, could, could be, i could be wrong");
        assert_eq!(counts[Category::Polite as usize], 2.0, "thank, thank you");
        assert!(lexicon.is_common(word_hash("the")) && !lexicon.is_common(word_hash("beans")));
        assert_eq!(Category::Grave as usize + 1, CATEGORIES);
    }
}
