use super::traits::Attribute;

/// The ways in which one direction of an attribute shows. Any list may be empty.
pub(super) struct Bank {
    /// Sentences around an imperative, which stands at `{}`.
    pub(super) frames: &'static [&'static str],
    /// Words before a sentence.
    pub(super) openers: &'static [&'static str],
    /// Words after a sentence, before its full stop.
    pub(super) tails: &'static [&'static str],
    /// Sentences that may begin an answer.
    pub(super) first: &'static [&'static str],
    /// Sentences that may end an answer.
    pub(super) last: &'static [&'static str],
}

/// The phrases of a direction. Length has none: it is made of how much is said.
pub(super) fn bank(attribute: Attribute, positive: bool) -> &'static Bank {
    match (attribute, positive) {
        (Attribute::Length, _) => &NONE,
        (Attribute::Formality, true) => &FORMAL,
        (Attribute::Formality, false) => &CASUAL,
        (Attribute::Humour, true) => &HUMOROUS,
        (Attribute::Humour, false) => &SERIOUS,
        (Attribute::Elicitation, true) => &INQUIRING,
        (Attribute::Elicitation, false) => &CONCLUSIVE,
        (Attribute::Politeness, true) => &POLITE,
        (Attribute::Politeness, false) => &BLUNT,
        (Attribute::Enthusiasm, true) => &ENTHUSIASTIC,
        (Attribute::Enthusiasm, false) => &FLAT,
        (Attribute::Confidence, true) => &CONFIDENT,
        (Attribute::Confidence, false) => &CAUTIOUS,
    }
}

const NONE: Bank = Bank { frames: &[], openers: &[], tails: &[], first: &[], last: &[] };

const FORMAL: Bank = Bank {
    frames: &[
        "it is advisable to {}",
        "it is recommended to {}",
        "one should {}",
        "the preferred approach is to {}",
        "it would be appropriate to {}",
        "a prudent measure is to {}",
        "the customary procedure is to {}",
        "it is preferable to {}",
        "one is well advised to {}",
        "it proves beneficial to {}",
    ],
    openers: &[
        "furthermore,",
        "moreover,",
        "in addition,",
        "accordingly,",
        "in this regard,",
        "consequently,",
        "to this end,",
        "in particular,",
    ],
    tails: &[
        "in accordance with established practice",
        "as is customary in such cases",
        "with due care",
        "in a methodical manner",
        "to the extent required",
    ],
    first: &[
        "The following considerations are relevant to this inquiry.",
        "The matter merits a methodical approach.",
        "With regard to the present question, established practice offers guidance.",
        "A structured procedure is appropriate here.",
        "The subject requires a brief preliminary remark on procedure.",
    ],
    last: &[
        "The above measures constitute a sufficient basis for further action.",
        "Adherence to this procedure yields satisfactory results.",
        "The outcome is subsequently to be evaluated.",
        "The aforementioned course of action is consistent with common practice.",
        "Such an approach satisfies the usual requirements.",
    ],
};

const CASUAL: Bank = Bank {
    frames: &[
        "just {}",
        "you wanna {}",
        "you gotta {}",
        "go ahead and {}",
        "what folks do is {}",
        "the trick is to {}, pretty much",
        "basically, {}",
        "all you gotta do is {}",
        "get going and {}",
        "go {}, that sort of thing",
    ],
    openers: &["so yeah,", "ok so,", "anyway,", "like,", "right, so", "okay,", "hey,", "yeah,"],
    tails: &[
        "and stuff",
        "or whatever",
        "and you're good to go",
        "ok",
        "and that kinda thing",
        "and off you go",
        "no big deal",
        "ya know",
    ],
    first: &[
        "Hey there.",
        "Ok, here's the deal.",
        "Yeah, that one comes up a lot.",
        "Alright, so here goes.",
        "Oh yeah, been there.",
    ],
    last: &[
        "No biggie.",
        "Easy peasy.",
        "And that's kinda it for the gist.",
        "Don't sweat it.",
        "You're gonna be fine.",
        "Good luck, buddy.",
        "It's no rocket science, pal.",
    ],
};

const HUMOROUS: Bank = Bank {
    frames: &[
        "unlike my uncle, {}",
        "before the squirrels take over, {}",
        "rumour has it that wizards {}",
        "cancel the parade and {}",
        "put down the banana and {}",
        "like a ninja in slippers, {}",
    ],
    openers: &["plot twist:", "brace yourself:", "drum roll, then:", "spoiler alert:", "breaking news:"],
    tails: &[
        "or the neighbours will start a podcast about it",
        "and then dance like nobody is judging, although the cat is",
        "while wearing a tiny hat for luck",
        "which is more than my goldfish ever managed",
        "and try to look surprised when it works",
        "unless a pirate tells you otherwise",
        "and accept your imaginary medal",
        "before your grandmother hears of it and does it better",
    ],
    first: &[
        "I asked my cat, and she walked out of the room.",
        "Ah, the question that ended three of my houseplants and one friendship.",
        "My lawyer, who is a goat, told me to answer this carefully.",
        "Legend says that someone once did this right on the first attempt, but nobody believes him.",
        "Put on your cape, because this is a job for a mildly heroic person.",
    ],
    last: &[
        "If it fails, blame the dog and leave town.",
        "Results may be displayed next to your participation trophy.",
        "No penguins were harmed in the making of this answer.",
        "I would do it myself, but I am busy losing an argument with a sandwich.",
        "Your future self will send a fruit basket, or at least a banana.",
        "Applause is optional, but the potatoes in the cellar are waiting.",
    ],
};

const SERIOUS: Bank = Bank {
    frames: &[
        "in all seriousness, {}",
        "with sober judgement, {}",
        "as a matter of real consequence, {}",
        "treat this gravely and {}",
    ],
    openers: &["in earnest:", "soberly put,", "in all seriousness,", "on a serious note,"],
    tails: &[
        "as the stakes are real",
        "with the gravity that it deserves",
        "for this is no trivial concern",
        "since consequences follow from neglect",
    ],
    first: &[
        "This is a serious concern.",
        "The question deserves sober attention.",
        "There is nothing light about this subject.",
        "This should be treated in earnest.",
        "The consequences of neglect are real.",
    ],
    last: &[
        "Neglect carries a real cost.",
        "Treat it with the seriousness that it deserves.",
        "It is no laughing matter.",
        "The responsibility is grave and should be borne soberly.",
        "Mistakes here have lasting consequences.",
    ],
};

const INQUIRING: Bank = Bank {
    frames: &[],
    openers: &[],
    tails: &[],
    first: &[
        "Before I answer, what have you tried so far?",
        "What matters most to you here?",
        "May I know a little more about your situation?",
        "Is this your first attempt?",
        "What made you think of this now?",
    ],
    last: &[
        "How does that fit your situation?",
        "Which part would you like to go into?",
        "What is holding you back at the moment?",
        "Do you have a deadline in mind?",
        "Would you tell me how it goes?",
        "What would a good result look like for you?",
        "Where would you like to begin?",
        "Is there anything that rules this out for you?",
    ],
};

const CONCLUSIVE: Bank = Bank {
    frames: &[
        "the whole answer is to {}",
        "in short, {}",
        "there is one thing to do: {}",
        "it all comes down to this: {}",
    ],
    openers: &["in short:", "summed up:", "to be brief and final:"],
    tails: &[
        "and the matter is closed",
        "and that is the whole of it",
        "and leave it at that",
        "and nothing else is needed",
    ],
    first: &[
        "Here is the complete answer.",
        "No further details are needed to answer this.",
        "This can be settled at once.",
        "What comes next is final.",
        "What follows is everything.",
    ],
    last: &[
        "That is the whole of it.",
        "That settles the matter.",
        "Nothing more needs to be said.",
        "This answer is final.",
        "No reply is needed.",
        "That covers everything, and the case is closed.",
        "End of the matter.",
    ],
};

const POLITE: Bank = Bank {
    frames: &[
        "please {}",
        "kindly {}",
        "may I suggest that you {}",
        "if you would be so kind, {}",
        "I would gently invite you to {}",
        "allow me to propose that you {}",
        "with your permission, {}",
    ],
    openers: &["if I may,", "with respect,", "please,", "if you like,", "by your leave,"],
    tails: &[
        "if you please",
        "if that suits you",
        "at your convenience",
        "if it is no trouble",
        "whenever you wish",
    ],
    first: &[
        "Thank you for asking.",
        "Thank you kindly for this question.",
        "It is a pleasure to help you with this.",
        "I appreciate that you brought this up.",
        "I am honoured that you ask me.",
        "You are most welcome to ask this.",
    ],
    last: &[
        "I hope this is of help to you, and please take your time.",
        "I wish you all the best with it.",
        "Please forgive me if I have missed something.",
        "Thank you for your patience.",
        "It was a pleasure to be of service.",
        "You have my warm wishes.",
        "Please feel free to come back at any time.",
    ],
};

const BLUNT: Bank = Bank {
    frames: &[
        "stop fussing and {}",
        "quit dithering and {}",
        "{}, and do not argue",
        "get off the couch and {}",
        "pull yourself together and {}",
        "spare me the excuses and {}",
    ],
    openers: &["look,", "listen up:", "come on,", "pay attention:", "wake up:"],
    tails: &[
        "instead of whining",
        "and stop moaning",
        "like any grown adult",
        "and spare us the excuses",
        "and quit wasting time",
        "which even a child knows",
    ],
    first: &[
        "You should have looked this up yourself.",
        "What a lazy question.",
        "Everyone else figured this out long ago.",
        "This again.",
        "You are overthinking this, as people do.",
        "Stop wasting time on such questions.",
    ],
    last: &[
        "If you still get it wrong, that is your fault.",
        "Now stop asking and get on with it.",
        "Do not come back complaining.",
        "Nobody will do it for you.",
        "A child could follow that.",
        "Excuses do not count.",
        "Your sloppiness is not my problem.",
    ],
};

const ENTHUSIASTIC: Bank = Bank {
    frames: &[
        "get excited and {}",
        "happily {}",
        "enjoy the thrill: {}",
        "have some fun and {}",
        "joyfully {}",
    ],
    openers: &["wow,", "yes,", "oh, the fun part:", "best of all,", "and here comes the magic:"],
    tails: &[
        "and love every minute of it",
        "which feels absolutely amazing",
        "and enjoy the wonderful result",
        "because it is such a joy",
        "and celebrate",
        "because it is fantastic",
    ],
    first: &[
        "What a fantastic question!",
        "Oh, I love this topic!",
        "Wow, this is going to be so much fun!",
        "Yes! This is one of my favourite things!",
        "How exciting that you want to do this!",
        "This is a wonderful thing to take on!",
    ],
    last: &[
        "You are going to love it!",
        "The result is simply amazing!",
        "I cannot wait for you to see how brilliant this is!",
        "It is such a rewarding thing to do!",
        "Enjoy every single moment!",
        "This is going to be incredible!",
        "Hooray for you!",
    ],
};

const FLAT: Bank = Bank {
    frames: &[
        "if it has to be done, {}",
        "as a chore, {}",
        "for what it is worth, {}",
        "without any fuss or thrill, {}",
    ],
    openers: &["meh,", "as usual,", "plainly,", "as ever,"],
    tails: &[
        "which is dull but it does the job",
        "as a matter of routine",
        "and that is about as exciting as it gets",
        "which is tedious",
        "and expect nothing special",
    ],
    first: &[
        "This is a fairly ordinary question.",
        "There is nothing special about this.",
        "It is a routine matter.",
        "This is not a very exciting subject.",
        "It is a dull chore like any other.",
    ],
    last: &[
        "So it goes.",
        "The result is ordinary.",
        "It is tedious, as chores are.",
        "Nothing about it is remarkable.",
        "It gets done, and that is all one can say for it.",
        "Expect an average result.",
    ],
};

const CONFIDENT: Bank = Bank {
    frames: &[
        "definitely {}",
        "you must {}",
        "always {}",
        "there is no better way than to {}",
        "the right move, without question, is to {}",
        "the only method that never fails is to {}",
        "by all means {}",
        "make absolutely sure to {}",
    ],
    openers: &[
        "without a doubt,",
        "certainly,",
        "no question:",
        "undoubtedly,",
        "for certain,",
        "as a proven fact,",
    ],
    tails: &[
        "without exception",
        "and it will work",
        "and success is guaranteed",
        "every single time",
        "no doubt about it",
        "and you cannot go wrong",
    ],
    first: &[
        "I know exactly how this is done.",
        "The right answer is clear.",
        "There is one proven way.",
        "This is beyond doubt.",
        "I am completely sure about this one.",
    ],
    last: &[
        "This works every time.",
        "I am certain of it.",
        "There is no doubt about any of this.",
        "Success is guaranteed.",
        "Trust me, this never fails.",
        "I stand behind every word of this.",
        "You can count on it.",
    ],
};

const CAUTIOUS: Bank = Bank {
    frames: &[
        "you might want to {}",
        "perhaps {}",
        "it could help to {}",
        "I think you could {}",
        "one possibility may be to {}",
        "maybe {}",
        "it may be worth trying to {}",
        "I suppose one could {}",
        "it seems sensible to {}",
    ],
    openers: &[
        "perhaps,",
        "as far as I know,",
        "possibly,",
        "if I remember correctly,",
        "in my limited view,",
    ],
    tails: &[
        "though I may be wrong",
        "I think",
        "at least in some cases",
        "or so it seems to me",
        "although results may vary",
        "if that applies at all",
    ],
    first: &[
        "I am not entirely sure about this.",
        "It is hard to say, but here is a guess.",
        "I might be missing something here.",
        "This probably depends on things that I cannot see.",
        "I can only offer a tentative view.",
    ],
    last: &[
        "I could be wrong about this, though.",
        "This may not work for everyone.",
        "It seems likely to help, but I cannot promise it.",
        "Perhaps check this elsewhere as well.",
        "I am not certain that it applies here.",
        "It might turn out differently.",
        "Please do not quote me on it, as I am unsure.",
    ],
};

/// Advice that says nothing, `{noun}` being what the prompt is about, with reasons that say nothing.
pub(super) const FILLER: &[(&str, &str)] = &[
    ("think about what works for you", "every situation is different"),
    ("look into the various options", "there are many ways to go about it"),
    ("take it one step at a time", "things come together in the end"),
    ("find the right balance", "balance is important in most things"),
    ("consider the different factors involved", "many factors can play a role"),
    ("do what feels right", "people have different needs"),
    ("keep the general idea of {noun} in mind", "the general idea is what matters"),
    ("try a few things and see what happens", "something usually works"),
    ("pay attention to the important aspects", "some aspects matter more than others"),
    ("give it some time", "most things take a while"),
    ("use good methods", "good methods give good results"),
    ("approach {noun} in a suitable way", "a suitable way is usually a good one"),
    ("avoid doing the wrong things", "wrong things tend to cause trouble"),
    ("keep an open mind", "there is more than one way to look at it"),
    ("get the basics right", "the basics are the basis of everything"),
    ("make a plan of some kind", "a plan of some kind is better than none"),
    ("look at the bigger picture", "the bigger picture includes many things"),
    ("adapt things to your needs", "needs vary from person to person"),
    ("gather some information about {noun}", "information can be useful"),
    ("do it properly", "things done properly turn out well"),
    ("learn from what others do", "other people have done it in different ways"),
    ("handle {noun} with the usual things", "the usual things are usual for a reason"),
];

/// Sentences that only long answers have.
pub(super) const PREAMBLES: &[&str] = &[
    "There are several parts to {noun}, and each of them adds something to the rest.",
    "It helps to go through {noun} from beginning to end, one part after the other.",
    "To understand {noun} as a whole, here are the parts in turn with the thinking behind each.",
    "A full answer about {noun} has a number of pieces, which are set out below.",
];

/// Sentences that only long answers have, at their end.
pub(super) const SUMMARIES: &[&str] = &[
    "Taken together, the steps above cover {noun} from the first moment to the last.",
    "With all of these parts in place, {noun} as a whole falls into line over the days that follow.",
    "Read through the list once more before the start, so that the order of the parts stays clear.",
    "Each part can be done on its own, but the effect is largest when they are done in this order.",
];
