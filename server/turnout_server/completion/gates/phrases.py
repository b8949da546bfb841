"""How answers decline, offer, guess and fill, by language: RE2 patterns over `wording.plain` text.

Patterns ask for the first person or for a verb of helping, so that "I can't help but smile" or a library that cannot
provide something are not taken for refusals. They were developed on two thirds of the labelled answers that
docs/gates.md describes. A gap is written [^.!?。]{0,n}: within a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrases:
    """A language's patterns.

    Attributes:
        refusal: declines to answer.
        policy: gives a policy, the law or safety as the reason.
        offer: offers something else, or sends the reader elsewhere; no substance of an answer.
        unsure: says in the first person that the answer is a guess.
        filler: a courtesy; matched against whole answers.
    """

    refusal: tuple[str, ...]
    policy: tuple[str, ...] = ()
    offer: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    filler: tuple[str, ...] = ()


# Taken out before anything is looked for: phrases that only look like a refusal or a doubt.
IDIOMS = (
    "can(not|'t| not) (really )?help (but|feeling|thinking|noticing|loving|it if)",
    "not sure whether to",
    "can't wait",
)

_EN_UNABLE = (
    "(can't|cannot|can not|won't|will not|('m| am|'re| are) (un|not )able to|"
    "('m| am) not (going|permitted|allowed|willing) to|(don't|do not) think (that )?i can)"
)
_EN_DO = (
    "(help|assist|fulfil|fulfill|comply|provide|create|generate|write|answer|continue|share|do (that|this|it|so)|"
    "support|give|engage|discuss|offer|produce|participate|summari[sz]e|access|advise|diagnose|promote|accommodate|"
    "respond|process|browse|proceed|condone|encourage)"
)

LANGUAGES: Mapping[str, Phrases] = {
    "en": Phrases(
        refusal=(
            rf"\b(i|we) ?{_EN_UNABLE}( \S+){{0,4}}? {_EN_DO}\b",
            r"\bnot able to (help|assist|provide|comply|fulfil|answer)",
            r"^(no(pe)?,? )?(can't|cannot|won't) (help|do|assist)|^((i'm|i am) )?sorry,? no\b",
            r"\bi (don't|do not) (provide|offer|give|create|generate|write|engage|discuss|assist)\b",
            r"\bi('ll| will)? (have to|must) say no\b|^(let's|let us|can we) (talk|chat) about something else",
            r"\b(must|have to|need to|going to) (respectfully |politely )?(decline|refuse|pass on)",
            r"\bi (refuse|decline) to\b",
            r"\bi('d| would)? ?(much )?(rather not|prefer not to)\b",
            r"\bi('m| am) not comfortable|\bi (don't|do not) feel comfortable",
            r"\bi (don't|do not) have (the ability|access|permission|the means)",
            r"\bi('m| am) not (in a position|authorized|authorised|qualified)\b",
            r"\bi('m| am|'ve been| have been|was) (programmed|designed|trained|built) (to (avoid|be|not|never|refuse)|not to)",
            r"\b(is not|isn't|'s not) something (that )?(i|we)('m| am)? (can|able|comfortable|willing)",
            r"\b(wouldn't|would not|isn't|is not) be (appropriate|right|ethical|responsible) for me",
            r"\b(outside( of)?|beyond) (what i can|my (abilities|capabilities|scope))",
            r"\b(goes|go|going|is|be|would be) against (my|our|the) (\S+ )?(programming|guidelines|polic|principles|rules)",
            r"\bviolat(e|es|ing) (\S+ ){0,2}(polic|guidelines|terms)",
            r"\bguidelines (do not|don't|won't|prevent|prohibit)( me| us)?( from)? ?(allow|permit|answer|help|discuss)?",
        ),
        policy=(
            r"\b(polic(y|ies)|guidelines|terms of|illegal|unlawful|unethical|harm(s|ful|less|ing)?|safety|program(med|ming)|"
            r"explicit|hatred|hate|discriminat|designed to avoid)",
        ),
        offer=(
            r"feel free|happy to help|let me know|(something|anything) else|what else|how else|i can (help|assist)|"
            r"if you('d| would)? (like|want)|\bplease (consult|talk|reach|check|contact|see|speak)|try asking|"
            r"i('d| would) (suggest|recommend)|another question|reach out",
        ),
        unsure=(
            r"\bi('m| am) (not|un)( ?\S+)? ?(sure|certain|confident)\b",
            r"\bi (really |honestly |actually )?(don't|do not) (really |actually )?know\b",
            r"\b(i have|i've) no idea\b",
            r"\bi (could|might|may) be (wrong|mistaken)\b",
            r"\bif i (had to guess|(remember|recall) correctly|'m not mistaken)",
            r"\bmy best guess\b|\bi guess\b|\bi'm guessing\b|\bjust a guess\b",
            r"\bi (can't|cannot) be (\S+ )?(certain|sure)\b",
            r"\b(double-check|verify) this\b|\bgrain of salt\b",
            r"^not (entirely |really )?sure\b",
            r"\bi (believe|think) (it's|it is|it was|it might|it may|that) (probably|perhaps|maybe)?",
            r"\bi (don't|do not) have enough information|\bhard for me to say|\bi('m| am) not familiar with",
            r"\bi('m| am) unsure\b",
        ),
        filler=(
            r"(sure|sure thing|of course|certainly|absolutely|okay|ok|gladly|great question|good question|no problem)"
            r"([.,!: ]+(here('s| is| are) [^.]{0,40}|(i'd be |i'm )?(happy|glad) to help[^.]{0,24}|let me [^.]{0,30}))?",
        ),
    ),
    "de": Phrases(
        refusal=(
            r"\bich (kann|darf|werde|möchte)[^.!?]{0,60}(nicht|kein[^.!? ]*)[^.!?]{0,60}"
            r"\b(helfen|behilflich|bearbeiten|beantworten|erfüllen|unterstützen|geben|schreiben|stellen|erstellen|liefern|tun)",
            r"\b(kann|darf|werde) ich[^.!?]{0,40}(nicht|kein[^.!? ]*)[^.!?]{0,40}"
            r"\b(helfen|behilflich|bearbeiten|beantworten|erfüllen|unterstützen|geben|schreiben|stellen|erstellen|liefern|tun)",
            r"möchte ich[^.!?]{0,20}\bnicht\b|lieber nicht|tut mir leid[^.!?]{0,30}(kann|darf|werde)[^.!?]{0,40}nicht",
            r"(mache|schreibe|beantworte) ich nicht|nicht in der lage|muss ich (leider )?ablehnen|ich lehne",
            r"verst(ö|o)(ß|ss)t gegen|gegen meine (richtlinien|programmierung)",
        ),
        policy=(
            r"richtlinien|illegal|gesetzwidrig|verst(ö|o)(ß|ss)t|sicherheitsgründen|nutzungsbedingungen",
        ),
        offer=(r"gerne helfe|helfe ich (dir|ihnen)|bitte wende|wenden sie|stattdessen",),
        unsure=(
            r"ich bin (mir )?(da |dabei )?(nicht|un)[^.!?]{0,20}sicher",
            r"wei(ß|ss) ich[^.!?]{0,12}nicht|ich wei(ß|ss) (es )?(leider )?nicht",
            r"keine ahnung|ich würde (raten|schätzen)|ich schätze|ich rate|wenn ich mich recht erinnere|ohne gewähr",
            r"ich (glaube|meine), (es|dass)|ich könnte mich irren",
        ),
        filler=(
            r"(gerne?|natürlich|klar|selbstverständlich|sicher|okay)([.,! ]+hier (ist|sind) [^.]{0,40})?",
        ),
    ),
    "fr": Phrases(
        refusal=(
            r"je ne (peux|puis|pourrai|saurais)( malheureusement)? pas[^.!?]{0,50}"
            r"\b(aider|répondre|fournir|donner|créer|écrire|générer|assister|accéder|satisfaire|poser|traiter|continuer)",
            r"incapacité de|pas en mesure de|je préf(è|é)r(e|erais) (ne pas|parler d'autre)|je ne (le |vous |t')?(ferai|vais|veux|écrirai) pas|je (dois|suis obligé de) (décliner|refuser)|je refuse de",
            r"(va à l'encontre|enfreint|viole|contraire)[^.!?]{0,20}(règles|politique|directives|conditions|principes)",
        ),
        policy=(r"règles|politique|directives|illégal|à l'encontre|raisons de sécurité",),
        offer=(
            r"je peux (toutefois|cependant|en revanche|volontiers)?[^.!?]{0,12}aider|veuillez|n'hésitez pas|consultez",
        ),
        unsure=(
            r"je ne suis pas[^.!?]{0,20}(sûre?|certaine?)|je ne sais pas|aucune idée|je dirais|je crois que",
            r"si je me souviens bien|je peux me tromper|il me semble",
        ),
        filler=(r"(bien sûr|d'accord|certainement|avec plaisir|volontiers)([.,! ]+voici [^.]{0,40})?",),
    ),
    "es": Phrases(
        refusal=(
            r"no (puedo|podemos|podré|soy capaz de|me es posible|estoy en condiciones de|estoy autorizad[oa] a)"
            r"[^.!?]{0,40}\b(ayudar|cumplir|proporcionar|dar|responder|asistir|crear|generar|escribir|ofrecer|continuar|"
            r"acceder|facilitar|atender|realizar)",
            r"prefier(o|iría) no|preferiría no|no voy a (escribir|ayudar|hacer|responder|dar|crear)|me niego a|(debo|tengo que) (rechazar|negarme)",
            r"(infringe|viola|incumple|va en contra de|es contrari[oa] a)[^.!?]{0,20}(directrices|política|normas|reglas)",
        ),
        policy=(r"directrices|políticas?|normas|ilegal|por seguridad",),
        offer=(r"puedo ayudarte|si quieres|consulta|no dudes|ponte en contacto",),
        unsure=(
            r"no estoy[^.!?]{0,20}segur[oa]|no (lo )?sé\b|ni idea|diría que|creo que (fue|es|era)|si no recuerdo mal",
            r"podría equivocarme|puedo estar equivocad[oa]",
        ),
        filler=(
            r"¡?(claro|por supuesto|desde luego|de acuerdo|con gusto)( que sí)?([.,! ]+aquí [^.]{0,40})?",
        ),
    ),
    "it": Phrases(
        refusal=(
            r"non (posso|possiamo|sono in grado di|mi è possibile|sono autorizzat[oa] a)[^.!?]{0,40}"
            r"\b(aiutar|soddisfare|fornire|rispondere|dare|creare|generare|scrivere|assister|fare una diagnosi|accedere|"
            r"continuare|offrire|eseguire)",
            r"prefer(isco|irei) non|non (lo farò|scriverò|risponderò)|mi rifiuto|devo (declinare|rifiutare)",
            r"(viola|va contro|è contrari[oa] a)[^.!?]{0,20}(linee guida|policy|regole|norme|politic)",
        ),
        policy=(r"linee guida|policy|regole|illegal|norme|motivi di sicurezza",),
        offer=(r"posso aiutarti|ti suggerisco|rivolgiti|rivolgerti|se vuoi",),
        unsure=(
            r"non (ne )?sono[^.!?]{0,20}(sicur[oa]|cert[oa])|non (lo )?so\b|non ne ho idea|direi|credo che fosse",
            r"se ricordo bene|potrei sbagliarmi",
        ),
        filler=(r"(certo|certamente|va bene|volentieri|naturalmente)([.,! ]+ecco [^.]{0,40})?",),
    ),
    "pt": Phrases(
        refusal=(
            r"não (posso|podemos|consigo|sou capaz de|estou em condições de|me é possível|estou autorizad[oa] a)"
            r"[^.!?]{0,40}\b(ajud|atender|fornecer|dar|responder|criar|gerar|escrever|auxiliar|oferecer|cumprir|aceder|"
            r"acessar|continuar|realizar)",
            r"(prefiro|preferia|preferiria) não|não vou (escrever|ajudar|fazer|responder|dar|criar)|recuso-me|(devo|tenho de|tenho que) recusar",
            r"(viola|infringe|vai contra|é contrári[oa] a)[^.!?]{0,20}(diretrizes|política|regras|normas)",
        ),
        policy=(r"diretrizes|políticas?|regras|normas|ilegal|ilegais|segurança",),
        offer=(r"posso ajudar com|se quiser|procure um|fique à vontade|consulte",),
        unsure=(
            r"não tenho (a )?(certeza|ideia)|não estou[^.!?]{0,12}cert[oa]|não sei\b|diria que|acho que (foi|é|era)",
            r"se bem me lembro|posso estar enganad[oa]",
        ),
        filler=(r"(claro|com certeza|certamente|com prazer|está bem)([.,! ]+aqui [^.]{0,40})?",),
    ),
    "nl": Phrases(
        refusal=(
            r"\bkan ik[^.!?]{0,30}(niet|geen)[^.!?]{0,30}\b(helpen|geven|uitvoeren|beantwoorden|schrijven|maken|verstrekken)",
            r"\bik (kan|mag|zal)[^.!?]{0,40}(niet|geen)[^.!?]{0,40}"
            r"\b(helpen|geven|uitvoeren|beantwoorden|schrijven|maken|verstrekken|ingaan|voldoen|bieden)",
            r"liever niet|niet in staat|(doe|schrijf|beantwoord) ik niet|moet ik (helaas )?weigeren",
            r"in strijd met|tegen mijn (richtlijnen|beleid)",
        ),
        policy=(r"richtlijnen|beleid|illegale?|regels|veiligheidsredenen",),
        offer=(r"ik help je graag|help ik je graag|neem contact|raadpleeg",),
        unsure=(
            r"ik weet (het )?niet|ik ben (er )?niet[^.!?]{0,12}zeker|geen idee|ik gok|als ik me niet vergis",
        ),
        filler=(r"(natuurlijk|graag|zeker|prima|oké)([.,! ]+hier (is|zijn) [^.]{0,40})?",),
    ),
    "pl": Phrases(
        refusal=(
            r"nie (mogę|możemy|jestem w stanie|potrafię|będę)[^.!?]{0,40}"
            r"(pomóc|spełnić|podać|udziel|odpowiedzieć|wykonać|napisać|stworzyć|dostarczyć|zrealizować|kontynuować)",
            r"wol(ę|ałbym|ałabym) nie|nie (zrobię|napiszę|odpowiem)|muszę odmówić|odmawiam",
            r"(narusza|łamie|jest sprzeczn)[^.!?]{0,20}(zasad|wytyczn|regulamin|polityk)",
        ),
        policy=(r"zasad|wytyczn|nielegaln|regulamin|polityk|bezpieczeństwa",),
        offer=(r"chętnie pomogę|skontaktuj|mogę pomóc|daj znać",),
        unsure=(
            r"nie jestem[^.!?]{0,12}pew(ien|na|ny)|nie wiem|nie mam pojęcia|wydaje mi się|zgaduję|mogę się mylić",
        ),
        filler=(r"(oczywiście|jasne|pewnie|z przyjemnością|dobrze)([.,! ]+oto [^.]{0,40})?",),
    ),
    "ru": Phrases(
        refusal=(
            r"не (могу|можем|смогу|в состоянии|имею возможности|буду)[^.!?]{0,40}"
            r"(помочь|помогать|выполнить|предоставить|ответить|дать|давать|написать|создать|поставить|обсуждать|"
            r"продолжить|оказать|поделиться)",
            r"я не даю|(этого|такого) (я )?(делать |писать )?не буду|не буду (этого|это) (делать|писать)|предпоч(ёл|ел|ла) бы не|предпочитаю не|вынужден[а]? отказать|отказываюсь",
            r"(нарушает|противоречит)[^.!?]{0,20}(правил|политик|принцип|руководств)",
        ),
        policy=(r"правил|политик|незаконн|противозаконн|безопасност",),
        offer=(r"могу помочь|обратитесь|буду рад|дайте знать",),
        unsure=(
            r"не (совсем |до конца )?уверен|не знаю|понятия не имею|могу ошибаться|если не ошибаюсь|кажется",
        ),
        filler=(r"(конечно|разумеется|хорошо|с удовольствием)([.,! ]+вот [^.]{0,40})?",),
    ),
    "zh": Phrases(
        refusal=(
            r"(我们?|助手)[^。!?,]{0,8}(无法|不能|没有办法|没办法|不便|不太方便|不方便|难以)[^。!?]{0,20}"
            r"(帮助|帮您|帮你|协助|提供|回答|完成|给出|做出|满足|继续|生成|撰写|写|参与|支持|讨论|透露)",
            r"(抱歉|对不起|遗憾|不好意思)[^。!?]{0,12}(无法|不能|做不到|办不到|难以)",
            r"违反[^。!?]{0,12}(政策|规定|准则|条款)",
        ),
        policy=(r"政策|准则|条款|违法|违反|安全原因|非法",),
        offer=(r"我可以帮|请咨询|如果您愿意|请联系",),
        unsure=(r"我(也)?(不太|不|并不|无法)(确定|清楚|知道|肯定)|我猜|说不准|可能记错",),
        filler=(r"(好的|当然|没问题|当然可以)",),
    ),
    "ja": Phrases(
        refusal=(
            r"(お手伝い|お応え|お答え|提供|対応|お教え|ご案内|回答|作成|生成|ご協力|助言|診断|支援)[^。!?]{0,14}"
            r"(できません|できかねます|いたしかねます|しかねます|できない)",
            r"(申し訳|すみません|恐れ入り|残念)[^。!?]{0,40}(できません|できかね|いたしかね|しかねます)",
            r"控えさせていただ|お断り(します|いたします|させて)|遠慮させて",
            r"(規約|ポリシー|ガイドライン|方針)に(違反|反)",
        ),
        policy=(r"規約|ポリシー|ガイドライン|違法|違反|安全上",),
        offer=(r"でしたら|ご相談ください|お問い合わせ|お知らせください",),
        unsure=(
            r"確か(では|じゃ)(ありません|ない)|(わか|分か)りません|自信がありません|はっきりしません|うろ覚え",
        ),
        filler=(r"(もちろん(です)?|はい|承知しました|かしこまりました|了解です)",),
    ),
    "ko": Phrases(
        refusal=(
            r"(드릴|도울|제공할|답변할|답할|그건 할|응할|생성할|작성할|수행할|말씀드릴|해 줄) 수(는|가)? 없",
            r"(죄송|미안|유감|안타깝)[^.!?]{0,40}(수 없|어렵습니다|어려워요|못합니다|못 합니다|못 해)",
            r"(쓰기|드리기|답변하기|돕기|제공하기) 어렵|거절(합니다|하겠습니다|할 수밖에)",
            r"(정책|가이드라인|지침|약관)에 (위배|위반|어긋)",
        ),
        policy=(r"정책|가이드라인|지침|약관|불법|안전상",),
        offer=(r"도와드릴 수 있|상담하시|문의하시|알려 주세요",),
        unsure=(r"확실하지(는|가)? 않|모르겠|자신이 없|확신이 없|기억이 맞다면",),
        filler=(r"(물론이죠|물론입니다|네|알겠습니다|좋아요)",),
    ),
    "ar": Phrases(
        refusal=(
            r"(لا (أستطيع|يمكنني|أقدر)|لن (أستطيع|أتمكن|أقوم)|لست قادر|غير قادر)[^.!?؟]{0,30}"
            r"(مساعد|تقديم|تنفيذ|إجابة|كتابة|توفير|إنشاء|مشاركة|تلبية|إعطاء)",
            r"(عذرا|أعتذر|للأسف|آسف)[^.!?؟]{0,20}(لا (أستطيع|يمكنني|أقدر)|لن |لست )",
            r"أفضل عدم|أعتذر عن عدم|أرفض",
            r"(يخالف|ينتهك|يتعارض مع)[^.!?؟]{0,20}(سياس|إرشاد|قواعد|شروط)",
        ),
        policy=(r"سياس|إرشاد|قواعد|شروط|غير قانوني|السلامة",),
        offer=(r"يسعدني|يرجى|يمكنني مساعدتك في",),
        unsure=(r"لست متأكد|غير متأكد|لا أعرف|لا أعلم|لا أدري",),
        filler=(r"(بالطبع|بالتأكيد|حسنا|حسناً|طبعا|طبعاً)",),
    ),
    "tr": Phrases(
        refusal=(
            r"(yardımcı olama|yardım edeme|yerine getireme|karşılayama)(m|yız|yiz|yacağım|yeceğim)\b",
            r"(sağlaya|yanıtlaya|cevaplaya|oluştura|yaza|paylaşa|yapa)(mam|mayız|mıyorum|mayacağım)",
            r"(üzgünüm|maalesef|ne yazık)[^.!?]{0,60}(amam|emem|ayamam|eyemem|amıyorum|emiyorum)\b",
            r"vereme(m|yiz|yeceğim)\b|veremiyorum|(yazmamayı|yapmamayı|vermemeyi) tercih|reddet",
            r"(politika|kural|ilke)[^.!?]{0,12}(aykırı|ihlal)",
        ),
        policy=(r"politika|kural|yasa ?dışı|güvenlik|aykırı",),
        offer=(r"yardımcı olabilirim|danışın|lütfen|isterseniz",),
        unsure=(r"emin değilim|bilmiyorum|yanılıyor olabilirim|fikrim yok|yanlış hatırlamıyorsam",),
        filler=(r"(tabii( ki)?|elbette|tamam|memnuniyetle)",),
    ),
    "hi": Phrases(
        refusal=(
            r"(मदद|सहायता|पूरा|पूरी|जानकारी|उत्तर|जवाब|प्रदान|सलाह|निर्देश)[^।.!?]{0,20}नहीं (कर|दे|दिया|की)?[^।.!?]{0,3}(सक|पा)",
            r"(क्षमा|माफ|खेद)[^।.!?]{0,60}नहीं (कर|दे|बता|लिख)[^।.!?]{0,3}सक",
            r"असमर्थ|नहीं (लिखना |देना |करना )?चाह(ूँ|ू)ग|इनकार",
            r"(नीति|नीतियों|नियमों|दिशानिर्देश)[^।.!?]{0,12}(उल्लंघन|विरुद्ध|खिलाफ)",
        ),
        policy=(r"नीति|नियम|अवैध|गैरकानूनी|उल्लंघन|दिशानिर्देश",),
        offer=(r"मदद कर सकत|संपर्क करें|यदि आप चाहें",),
        unsure=(r"पक्का नहीं|नहीं पता|निश्चित नहीं|यकीन नहीं|पता नहीं",),
        filler=(r"(ज़रूर|जरूर|बिल्कुल|ठीक है|हाँ)",),
    ),
}
