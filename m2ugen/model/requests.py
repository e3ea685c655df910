"""What the form of a message tells about the answer that it wants, before a model has read it."""

from __future__ import annotations

import re

_COURTESIES = re.compile(
    r"(oh )?(hi|hello|hey|hiya|howdy|greetings|good (morning|afternoon|evening|night|day)|thanks|thank you|thx|cheers"
    r"|bye|goodbye|see you|ok(ay)?|great|nice|cool|wow|perfect|awesome|lovely"
    r"|i (like|love|hate) (it|this|that)|well done"
    r"|good( job)?|yes|no|help)"
    r"( (there|again|everyone|all|m2ugen|a lot|so much|very much|you|later|job|one|work|it|that|then|thanks|thank))*"
)
_PROPOSALS = re.compile(
    r"(and |so |but |then )?(how about|what about|what if|why not|why don t (you|we)|is it possible|do you mind"
    r"|(are|is) (you|it) able|shall we|let s)\b"
)
_QUESTIONS = re.compile(
    r"(and |so |but |well |then |ok |now |in |at |on |for |to |from |with |of |by )*"
    r"((what|which|who|whose|why|where|when|how)( s)?|whats|hows|is|isn t|are|aren t|was|were|does|doesn t|did|has"
    r"|(do|have|don t) (you|they|we|i)|do (the|these|those)|(can|could|would|will) (i|we|one|anyone)"
    r"|(can|could|would|will) you (please )?(hear|tell|say|name|describe|explain|identify|recogni[sz]e|count|guess"
    r"|list)|(please )?(tell me|describe|explain|identify|recogni[sz]e|guess|estimate|analy[sz]e|summari[sz]e"
    r"|caption))\b"
)
_WISHES = re.compile(
    r"\b(make|makes|add|remove|play|compose|write|create|generate|produce|give|change|turn|put|take|drop|mute|replace"
    r"|swap|edit|mix|keep|want|need|please|can|could|would|will|shall|should|may"
    r"|\w*(?:slow|fast|loud|quiet|soft|high|low|long|short|sad|happi|dark|bright|calm|warm|deep|big|small)er|more|less"
    r"|without)\b"
)


def wants_words(message: str) -> bool:
    """Whether a message plainly wants words for an answer: a question about something, a greeting, thanks.

    Proposals that only look like questions ("how about a flute?", "could you make it slower?") do not.

    >>> wants_words("How fast is it?"), wants_words("could you make it faster?"), wants_words("a waltz for strings")
    (True, False, False)
    """
    plain = " ".join(re.findall(r"[\w#+/&-]+", message.lower().replace("’", "'")))
    if not plain or _COURTESIES.fullmatch(plain):
        return bool(plain)
    if _PROPOSALS.match(plain):
        return False
    return bool(_QUESTIONS.match(plain)) or (message.rstrip().endswith("?") and not _WISHES.search(plain))
