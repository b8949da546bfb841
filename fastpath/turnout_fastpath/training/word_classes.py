"""Word classes: words that say what kind of work a request asks for, and the generator of word_classes.h.

    python -m turnout_fastpath.training.word_classes OUT [--check]

Words are listed by class and language and match case-blind, without accents, as whole words. Chinese, Japanese and
Korean entries are sequences of 1 to 4 characters that match anywhere in a run of Han, kana or Hangul. A word may be
in several classes. A word of one language matches in all of them, so those that mean something common and different
in another language are left out (German "was", Italian "come").
"""

from __future__ import annotations

import enum
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KEY_BYTES = 32
SEQUENCE_CHARS = 4
SEQUENCE_LANGUAGES = frozenset({"zh", "ja", "ko"})


class WordClass(enum.IntEnum):
    """Bit numbers in a word's mask. The first sixteen are features, in the order of FEATURE_NAMES."""

    SOCIAL = 0
    WRITE = 1
    REWRITE = 2
    EXTRACT = 3
    EXPLAIN = 4
    COMPARE = 5
    REPAIR = 6
    SOLVE = 7
    PLAN = 8
    FORMAT = 9
    CONSTRAINT = 10
    NEGATION = 11
    STEP = 12
    CONDITION = 13
    SPECIALIST = 14
    CODE_REQUEST = 15
    QUESTION = 16
    AUXILIARY = 17  # opens a question, but asks nothing elsewhere
    CODE = 18  # seldom stands outside of code


WORDS: Mapping[WordClass, Mapping[str, str]] = {
    WordClass.SOCIAL: {
        "en": """hi hello hey hiya howdy greetings goodnight thanks thank thx ty cheers bye goodbye
            please pls plz lol haha lmao sorry congrats congratulations birthday joke jokes cool awesome
            yo sup ok okay yeah yep nope""",
        "es": "hola gracias adiós saludos porfa favor buenos buenas perdón jaja felicidades chiste",
        "fr": "bonjour salut merci bonsoir coucou svp stp plaît désolé bravo félicitations blague",
        "de": "hallo danke tschüss bitte servus moin grüße guten dankeschön witz entschuldigung glückwunsch",
        "pt": "olá oi obrigado obrigada tchau valeu desculpa abraço piada parabéns",
        "it": "ciao grazie buongiorno buonasera arrivederci prego scusa salve auguri barzelletta",
        "nl": "hoi bedankt dank alsjeblieft alstublieft doei groetjes goedemorgen mop graag",
        "pl": "cześć dzięki dziękuję proszę witam dobranoc przepraszam hej pozdrawiam żart",
        "ru": "привет здравствуйте здравствуй спасибо пожалуйста добрый извините спс хай шутка анекдот",
        "tr": "merhaba selam teşekkürler teşekkür lütfen günaydın sağol görüşürüz hoşçakal şaka",
        "ar": "مرحبا شكرا السلام أهلا فضلك وداعا عفوا نكتة تحياتي",
        "hi": "नमस्ते नमस्कार धन्यवाद शुक्रिया कृपया अलविदा हैलो चुटकुला प्लीज",
        "zh": "请 請 你好 您好 谢谢 謝謝 再见 早上好 晚安 哈哈 不好意思 笑话",
        "ja": "こんにち こんばん おはよ ありが さような お願い ください 下さい すみま よろしく",
        "ko": "안녕 감사 고마워 고맙 죄송 부탁 주세요 농담",
    },
    WordClass.WRITE: {
        "en": """write writing draft drafting compose create generate author pen brainstorm invent story
            poem essay email letter blog article caption captions slogan headline tweet haiku limerick
            speech toast lyrics song tagline newsletter announcement invitation bio dialogue monologue
            post posts message reply cover""",
        "es": """escribe escribir escríbeme redacta redactar crea crear genera generar elabora carta
            correo cuento discurso""",
        "fr": """écris écrire écrivez rédige rédiger rédigez crée créer génère générer invente lettre
            courriel poème""",
        "de": """schreibe schreib schreiben verfasse verfassen erstelle erstellen generiere entwirf brief
            gedicht geschichte rede einladung""",
        "pt": """escreva escreve escrever redija redigir crie criar gere gerar elabore conto poema
            redação discurso""",
        "it": "scrivi scrivere scriva scrivimi redigi crea genera componi lettera poesia racconto",
        "nl": "schrijf schrijven opstellen maak genereer gedicht verhaal opstel uitnodiging brief",
        "pl": """napisz pisać stwórz stworzyć wygeneruj utwórz ułóż wiersz opowiadanie wypracowanie
            zaproszenie""",
        "ru": """напиши написать напишите сочини создай создать составь сгенерируй придумай письмо стих
            рассказ эссе""",
        "tr": "yaz yazın yazar oluştur oluşturun hazırla üret mektup şiir hikaye metin konuşma",
        "ar": "اكتب اكتبي كتابة أنشئ حرر قصيدة رسالة مقال مقالة قصة",
        "hi": "लिखो लिखें लिखिए लिख बनाओ बनाएं पत्र कविता कहानी निबंध",
        "zh": "写一 写个 写篇 写封 写首 撰写 创作 起草 编写 生成 寫一 撰寫 文案 作文",
        "ja": "書いて 作成 執筆 作って 作文 生成 考えて",
        "ko": "작성 써줘 써주 만들어 글쓰기 지어 편지",
    },
    WordClass.REWRITE: {
        "en": """rewrite rewriting rewritten rephrase rephrased reword translate translated translates
            translation translating summarise summarize summarised summarized summarizing summary
            summaries shorten shorter condense proofread correction paraphrase paraphrasing polish
            reformulate tone grammar spelling edit revise refine tldr abridge formal informal casual
            friendlier politer wording""",
        "es": """traduce traducir traducción resume resumir resumen reescribe reescribir corrige corregir
            parafrasea reformula acorta simplifica""",
        "fr": """traduis traduire traduisez traduction résume résumer résumez résumé reformule reformuler
            corrige corriger réécris raccourcis""",
        "de": """übersetze übersetz übersetzen übersetzung zusammenfassen zusammenfassung fasse
            umformulieren formuliere korrigiere kürze kürzen überarbeite""",
        "pt": """traduza traduz traduzir tradução resuma resumir resumo reescreva reescrever corrija
            parafraseie encurte""",
        "it": """traduci tradurre traduzione riassumi riassumere riassunto riscrivi riscrivere correggi
            riformula accorcia""",
        "nl": """vertaal vertalen vertaling samenvatten samenvatting herschrijf herschrijven corrigeer
            inkorten parafraseer korter""",
        "pl": """przetłumacz tłumaczyć tłumaczenie streść streszczenie podsumuj przeredaguj popraw skróć
            sparafrazuj przeformułuj""",
        "ru": """переведи перевести перевод переведите перескажи резюмируй сократи сократить перепиши
            перефразируй отредактируй кратко""",
        "tr": "çevir çeviri çevirin tercüme özetle özet özetleyin düzelt kısalt sadeleştir düzenle",
        "ar": "ترجم ترجمة الترجمة لخص تلخيص ملخص أعد صياغة صحح اختصر",
        "hi": "अनुवाद सारांश संक्षेप सुधारो सुधारें दोबारा छोटा संक्षिप्त",
        "zh": "翻译 翻譯 总结 總結 概括 改写 改寫 润色 潤色 缩写 摘要 校对 译成 译为 精简 改成",
        "ja": "翻訳 要約 書き換 言い換 校正 添削 直して 訳して 推敲 和訳 英訳",
        "ko": "번역 요약 교정 다듬 바꿔 줄여 영작",
    },
    WordClass.EXTRACT: {
        "en": """extract extracting extraction list lists identify find classify classifying
            classification label labels categorize categorise category categories pull detect detection
            parse tag tags sentiment entity entities keyword keywords spot highlight sort recognize
            retrieve mentions mentioned positive negative neutral spam""",
        "es": """extrae extraer identifica identificar clasifica clasificar enumera lista encuentra busca
            etiqueta detecta categoría sentimiento""",
        "fr": """extrais extraire identifie identifier classe classer classifie liste énumère trouve
            repère catégorie étiquette""",
        "de": """extrahiere extrahieren liste finde finden identifiziere klassifiziere klassifizieren
            kategorie ordne nenne auflisten stimmung""",
        "pt": """extraia extrair identifique identificar classifique classificar liste encontre categoria
            rótulo sentimento""",
        "it": "estrai estrarre identifica individua classifica elenca elenco trova categoria etichetta",
        "nl": "haal extraheer lijst vind zoek identificeer classificeer categorie noem",
        "pl": "wyodrębnij wyciągnij znajdź zidentyfikuj sklasyfikuj wypisz wymień lista kategoria wskaż",
        "ru": """извлеки извлечь найди найти определи классифицируй классифицировать перечисли список
            выдели выпиши категория""",
        "tr": "çıkar bul listele liste belirle sınıflandır tespit ayıkla kategori",
        "ar": "استخرج استخراج حدد صنف قائمة ابحث تصنيف اذكر",
        "hi": "निकालो निकालें निकालिए सूची खोजें पहचानो पहचानें वर्गीकृत श्रेणी छांटो",
        "zh": "提取 抽取 列出 找出 识别 識別 分类 分類 标注 归类 筛选 提炼 挑出",
        "ja": "抽出 列挙 分類 リスト 見つけ 抜き出 特定 挙げて",
        "ko": "추출 분류 나열 찾아 목록 뽑아 골라",
    },
    WordClass.EXPLAIN: {
        "en": """explain explains explained explanation explaining describe describes description define
            defined definition meaning means elaborate clarify illustrate teach understand understanding
            overview introduction concept example examples tell works eli5 basics interpret what why""",
        "es": """explica explicar explícame describe describir definir significa significado concepto
            ejemplo aclara""",
        "fr": "explique expliquer expliquez décris décrire définis définir définition signifie exemple",
        "de": """erkläre erkläret erklär erklären erklärung beschreibe beschreiben definiere bedeutet
            bedeutung beispiel erläutere""",
        "pt": """explique explica explicar descreva descrever defina definir significa significado
            exemplo conceito""",
        "it": """spiega spiegare spiegami descrivi descrivere definisci definizione significa significato
            esempio""",
        "nl": "uitleg uitleggen leg beschrijf beschrijven definieer betekent betekenis voorbeeld verklaar",
        "pl": "wyjaśnij wytłumacz wyjaśnienie opisz opisać zdefiniuj znaczy oznacza przykład definicja",
        "ru": "объясни объяснить объясните поясни опиши описать означает значит расскажи пример",
        "tr": "açıkla açıklayın açıklama anlat anlatın tanımla demek anlamı örnek",
        "ar": "اشرح شرح وضح عرف صف تعريف يعني معنى مثال",
        "hi": "समझाओ समझाएं समझाइए वर्णन परिभाषा मतलब अर्थ उदाहरण बताइए बताओ बताएं",
        "zh": "解释 解釋 说明 說明 介绍 描述 定义 什么意思 讲解 举例 含义 讲讲",
        "ja": "説明 解説 教えて 意味 定義 とは 例えば",
        "ko": "설명 알려줘 알려주 의미 정의 이란 예시",
    },
    WordClass.COMPARE: {
        "en": """compare compared compares comparison comparing versus vs evaluate evaluation assess
            assessment analyze analyse analysis analyzing review reviewing critique pros cons advantages
            disadvantages tradeoff tradeoffs offs recommend recommendation recommendations better
            difference differences differ contrast weigh judge rank ranking strengths weaknesses
            alternatives criteria implications feasibility choose choosing""",
        "es": """compara comparar comparación evalúa evaluar analiza analizar análisis ventajas
            desventajas diferencia diferencias recomienda mejor revisa""",
        "fr": """compare comparez comparer comparaison évalue évaluer analyse analyser avantages
            inconvénients différence différences recommande mieux""",
        "de": """vergleiche vergleichen vergleich bewerte bewerten analysiere analysieren analyse
            vorteile nachteile unterschied unterschiede empfehle besser prüfe beurteile""",
        "pt": """compare comparar comparação avalie avaliar analise analisar análise vantagens
            desvantagens diferença recomende melhor""",
        "it": """confronta confrontare paragona valuta valutare analizza analizzare analisi vantaggi
            svantaggi differenza""",
        "nl": """vergelijk vergelijken vergelijking beoordeel analyseer voordelen nadelen verschil
            verschillen advies beter""",
        "pl": """porównaj porównać porównanie oceń ocenić przeanalizuj analiza zalety wady różnica
            różnice poleć lepszy""",
        "ru": """сравни сравнить сравнение сравните оцени оценить проанализируй анализ преимущества
            недостатки разница отличие посоветуй лучше""",
        "tr": "karşılaştır karşılaştırın değerlendir analiz avantaj dezavantaj avantajları fark farkı öner",
        "ar": "قارن مقارنة قيم تقييم حلل تحليل مزايا عيوب الفرق أفضل",
        "hi": "तुलना विश्लेषण मूल्यांकन फायदे नुकसान अंतर बेहतर समीक्षा सुझाव",
        "zh": "比较 比較 对比 對比 评估 評估 分析 优缺点 利弊 区别 差异 权衡 评价 推荐 审查 哪个 审核",
        "ja": "比較 評価 分析 長所 短所 違い 検討 メリット おすすめ レビュー 比べ",
        "ko": "비교 분석 평가 장단점 차이 검토 추천",
    },
    WordClass.REPAIR: {
        "en": """fix fixes fixed fixing debug debugging error errors exception exceptions crash crashes
            crashed crashing failing fails failed failure bug bugs broken issue issues stacktrace
            traceback troubleshoot warning segfault undefined timeout repair resolve workaround hang
            hangs freezes panic glitch breaks incorrect""",
        "es": "arregla arreglar error errores fallo falla excepción depurar repara solucionar problema",
        "fr": "répare réparer erreur erreurs plante bogue débogue exception dépanner panne problème",
        "de": """behebe beheben fehler fehlermeldung repariere absturz kaputt ausnahme reparieren stürzt
            problem""",
        "pt": "conserte erro erros falha exceção depurar arrumar travando quebrado problema",
        "it": "errore errori eccezione guasto aggiusta ripara riparare problema",
        "nl": "repareer fout fouten foutmelding crasht herstel kapot storing probleem",
        "pl": "napraw błąd błędy błędu wyjątek debuguj awaria zepsuty usterka",
        "ru": "ошибка ошибку ошибки ошибкой баг почини исправить исправь исключение сбой падает отладь",
        "tr": "hata hatası hatayı düzelt onar çöküyor bozuk sorun istisna arıza",
        "ar": "أصلح خطأ أخطاء الخطأ مشكلة استثناء عطل",
        "hi": "त्रुटि गलती बग खराब समस्या एरर",
        "zh": "报错 错误 修复 调试 异常 崩溃 故障 錯誤 修復 出错 排查 问题在",
        "ja": "エラー 修正 バグ 例外 不具合 デバッグ 故障 落ちる",
        "ko": "오류 에러 버그 수정 고쳐 예외 고장 디버",
    },
    WordClass.SOLVE: {
        "en": """solve solving solution calculate calculating calculation compute computing prove proving
            proof proofs derive derivation integral integrals integrate differentiate equation equations
            simplify factor maximize minimize optimal probability derivative theorem roots polynomial
            matrix determinant percent percentage average median variance triangle radius perimeter
            fraction remainder divisible integer integers altogether sqrt arithmetic geometric estimate
            approximate show sum product""",
        "es": """calcula calcular resuelve resolver demuestra demostrar ecuación integral derivada
            probabilidad halla suma""",
        "fr": """calcule calculer calculez résous résoudre démontre démontrer montrer montrez équation
            intégrale dérivée""",
        "de": """berechne berechnen rechne löse lösen beweise beweisen beweis zeige gleichung integral
            ableitung wahrscheinlichkeit""",
        "pt": """calcule calcula calcular resolva resolver demonstre prove provar equação integral
            derivada probabilidade""",
        "it": """calcola calcolare risolvi risolvere dimostra dimostrare equazione integrale derivata
            probabilità""",
        "nl": "bereken berekenen oplossen bewijs bewijzen vergelijking integraal afgeleide kans reken",
        "pl": """oblicz obliczyć policz rozwiąż udowodnij wykaż dowód równanie całka całkę pochodna
            prawdopodobieństwo""",
        "ru": """вычисли вычислить посчитай рассчитай реши решить решите докажи доказать докажите
            уравнение интеграл производная вероятность""",
        "tr": "hesapla hesaplayın çöz çözün kanıtla ispatla ispat denklem integral türev olasılık kaçtır",
        "ar": "احسب حل أثبت برهن معادلة تكامل مشتقة احتمال",
        "hi": "हल गणना सिद्ध समीकरण समाकलन अवकलज प्रायिकता प्रतिशत जोड़",
        "zh": "计算 計算 求解 证明 證明 推导 方程 积分 导数 概率 解方程 微分 几何 求出 等于",
        "ja": "計算 証明 解いて 求め 導出 方程式 積分 微分 確率 導け",
        "ko": "계산 증명 풀어 방정식 적분 미분 확률 구하 유도",
    },
    WordClass.PLAN: {
        "en": """plan plans planning schedule scheduling design designing strategy strategic strategies
            itinerary roadmap architecture architect organize organise timeline milestones agenda budget
            prioritize coordinate allocate rollout migrate migration launch proposal workflow curriculum
            logistics scenario approach""",
        "es": """planifica planificar plan horario diseña diseñar estrategia itinerario arquitectura
            presupuesto organiza""",
        "fr": """planifie planifier planning conçois concevoir stratégie itinéraire calendrier organise
            organiser feuille""",
        "de": """plane planen planung zeitplan entwerfen strategie reiseplan architektur konzept
            organisiere fahrplan""",
        "pt": """planeje planejar plano planilha cronograma projete estratégia roteiro arquitetura
            orçamento organize""",
        "it": """pianifica pianificare piano programma progetta progettare strategia itinerario
            architettura organizza""",
        "nl": "planning ontwerp ontwerpen strategie reisschema architectuur begroting organiseer rooster",
        "pl": """zaplanuj plan planu harmonogram zaprojektuj strategia strategię architektura budżet
            zorganizuj grafik""",
        "ru": """спланируй план плана расписание спроектируй стратегия стратегию маршрут архитектура
            бюджет график""",
        "tr": "planla plan planı program tasarla strateji mimari bütçe takvim rota",
        "ar": "خطط خطة جدول صمم تصميم استراتيجية ميزانية برنامج",
        "hi": "योजना रणनीति कार्यक्रम डिज़ाइन बजट समयसारिणी यात्रा",
        "zh": "计划 計劃 规划 方案 设计 設計 策略 战略 行程 架构 安排 日程 预算",
        "ja": "計画 設計 戦略 予定 日程 方針 スケジュ 予算 旅程",
        "ko": "계획 일정 설계 전략 방안 기획 예산",
    },
    WordClass.FORMAT: {
        "en": """json csv tsv table tables bullet bullets bulleted markdown xml yaml html words word
            sentence sentences paragraph paragraphs heading headings format formats formatted formatting
            column columns row rows numbered characters schema template output keys syllables stanza
            verse lines""",
        "es": "formato tabla viñetas párrafo párrafos palabras frases oraciones columnas plantilla",
        "fr": "format tableau puces paragraphe paragraphes mots phrases phrase colonnes modèle",
        "de": """format tabelle stichpunkte stichpunkten absatz absätze wörter worten sätze sätzen satz
            spalten vorlage""",
        "pt": "formato tabela tópicos parágrafo parágrafos palavras frases frase colunas",
        "it": "formato tabella elenco paragrafo paragrafi parole frasi frase colonne",
        "nl": "formaat tabel opsomming alinea alinea's woorden zinnen zin kolommen",
        "pl": "format formacie tabela tabeli punktach akapit akapity słów słowach zdania zdaniach kolumny",
        "ru": """формат формате таблица таблицу таблице пункты абзац абзаца слов предложения предложениях
            столбцы""",
        "tr": "format biçim tablo madde paragraf kelime kelimeyle cümle cümlede sütun",
        "ar": "صيغة تنسيق جدول نقاط فقرة كلمات كلمة جملة جمل",
        "hi": "प्रारूप तालिका बिंदु अनुच्छेद शब्दों शब्द वाक्य वाक्यों",
        "zh": "格式 表格 列表 段落 字以内 字以內 要点 标题 输出 个字 一句话",
        "ja": "形式 表に 箇条書き 段落 文字 見出し 出力 一言",
        "ko": "형식 표로 문단 글자 문장 제목 출력 한줄",
    },
    WordClass.CONSTRAINT: {
        "en": """must only exactly least most without within limit limits limited maximum minimum max min
            require required requires requirement requirements constraint constraints exclude excluding
            include including avoid ensure strictly strict precisely always necessary mandatory restrict
            budget deadline up under over between""",
        "es": """debe deben solo sólo exactamente máximo mínimo límite sin evita incluye requisito
            requisitos obligatorio""",
        "fr": """doit doivent seulement uniquement exactement maximum minimum limite évite inclure sans
            obligatoire""",
        "de": """muss müssen nur genau mindestens höchstens maximal minimal ohne innerhalb vermeide
            ausschließlich anforderungen""",
        "pt": "deve devem apenas somente exatamente máximo mínimo limite sem evite inclua obrigatório",
        "it": "deve devono solo soltanto esattamente massimo minimo limite senza evita includi obbligatorio",
        "nl": "moet moeten alleen precies minstens hoogstens maximaal minimaal zonder binnen vermijd",
        "pl": "musi muszą tylko dokładnie maksymalnie minimum najwyżej najmniej bez wyłącznie unikaj",
        "ru": "должен должны должна только ровно максимум минимум менее более без обязательно избегай",
        "tr": "sadece yalnızca tam en fazla az sınır olmadan şart zorunlu kaçın",
        "ar": "يجب فقط بالضبط الأقل الأكثر بدون دون تجنب",
        "hi": "केवल सिर्फ ठीक कम अधिक अधिकतम न्यूनतम बिना जरूरी",
        "zh": "必须 必須 只能 仅 不超过 至少 最多 限制 以内 要求 最少 恰好 严格",
        "ja": "必ず だけ のみ 以内 以上 以下 ちょうど 最大 最低 制約 制限",
        "ko": "반드시 이내 이상 이하 정확히 최대 최소 제약 제한",
    },
    WordClass.NEGATION: {
        "en": """no not never none don't doesn't didn't can't cannot won't isn't aren't wasn't weren't
            shouldn't wouldn't couldn't haven't hasn't nothing nobody neither nor without dont doesnt
            cant wont isnt except unable lack""",
        "es": "no nunca ningún ninguna ninguno nada nadie tampoco ni",
        "fr": "ne pas non jamais aucun aucune rien ni sans",
        "de": "nicht kein keine keinen keiner nie niemals nichts weder",
        "pt": "não nunca nenhum nenhuma nada ninguém nem",
        "it": "non mai nessun nessuno nessuna niente nulla né",
        "nl": "niet geen nooit niets niemand noch",
        "pl": "nie nigdy żaden żadna żadnych nic nikt ani",
        "ru": "не нет никогда ничего никто нельзя ни никакой никаких",
        "tr": "değil yok hiç asla hiçbir olmasın yapma",
        "ar": "لا ليس لم لن ليست أبدا غير",
        "hi": "नहीं मत न कभी कोई ना",
        "zh": "不要 不能 没有 沒有 不是 不会 无法 别 不得 不可 禁止 從未",
        "ja": "ない ません なし 不要 禁止",
        "ko": "않 없 아니 못하 말고 금지 안돼",
    },
    WordClass.STEP: {
        "en": """first firstly second secondly third then next finally after afterwards also before
            lastly subsequently step steps followed later additionally furthermore moreover until begin
            start starting""",
        "es": "primero segundo luego después finalmente además también paso pasos antes",
        "fr": "d'abord premièrement ensuite puis enfin après aussi étape étapes avant",
        "de": """zuerst erstens zweitens dann danach schließlich außerdem schritt schritte schrittweise
            zunächst""",
        "pt": "primeiro depois finalmente também além passo passos então antes",
        "it": "prima poi infine inoltre anche passo passi passaggi dopo quindi",
        "nl": "eerst daarna vervolgens tenslotte ook bovendien stap stappen dan",
        "pl": "najpierw potem następnie wreszcie także również krok kroku kroki kolejno",
        "ru": "сначала потом затем наконец также шаг шаги шагам шага после далее",
        "tr": "önce sonra ardından ayrıca adım adımlar son ilk",
        "ar": "أولا ثانيا ثم بعد أخيرا أيضا خطوة خطوات",
        "hi": "पहले फिर बाद अंत भी कदम चरण",
        "zh": "首先 然后 然後 接着 最后 其次 步骤 此外 第一步 逐步 一步",
        "ja": "まず 次に 最後に その後 手順 さらに それから 順に",
        "ko": "먼저 다음 그리고 마지막 단계 또한 이후",
    },
    WordClass.CONDITION: {
        "en": """if unless given assume assuming assumes suppose supposing when whether because therefore
            provided since although however otherwise while hence thus implies depending whenever else
            despite though whereas case cases such""",
        "es": "si supongamos suponiendo dado cuando porque aunque entonces caso siempre salvo",
        "fr": "si supposons sachant quand lorsque car donc sauf cas puisque tandis",
        "de": "wenn falls angenommen sofern weil da obwohl daher deshalb sonst gegeben",
        "pt": "se suponha supondo dado quando porque embora portanto caso senão",
        "it": "se supponiamo supponendo dato quando perché sebbene quindi caso altrimenti",
        "nl": "als indien stel tenzij omdat hoewel daarom anders gegeven wanneer",
        "pl": "jeśli jeżeli gdy załóż załóżmy ponieważ chociaż więc zatem chyba kiedy",
        "ru": "если когда предположим пусть поскольку хотя поэтому иначе дано условие",
        "tr": "eğer ise çünkü varsayalım halde durumda rağmen ancak",
        "ar": "إذا لو بشرط لأن عندما لكن بما حالة",
        "hi": "अगर यदि जब क्योंकि मान हालांकि इसलिए तो",
        "zh": "如果 假设 假設 若 当 因为 除非 虽然 所以 设 已知 否则 条件",
        "ja": "もし 場合 なら たら 仮定 ただし なので とする 条件",
        "ko": "만약 경우 때문 가정 다면 라면 조건 하지만",
    },
    WordClass.SPECIALIST: {
        "en": """liability liable indemnify indemnity indemnification jurisdiction plaintiff defendant
            statute statutory clause clauses contract contracts contractual tort negligence breach
            compliance gdpr hipaa lawsuit litigation injunction fiduciary arbitration copyright patent
            trademark infringement covenant lien felony custody eviction tenant landlord subpoena
            warranty attorney lawyer regulation regulatory constitutional appellate court lease dosage
            dose doses mg mcg contraindication contraindicated contraindications diagnosis diagnose
            patient patients symptoms symptom prognosis chronic acute renal hepatic cardiac hypertension
            diabetes insulin antibiotic antibiotics warfarin ssri mri biopsy oncology pediatric pregnant
            pregnancy anticoagulant sepsis pathology syndrome therapy surgery clinical etiology tumor
            lesion infarction medication amortization amortize derivative derivatives hedge hedging tax
            taxes taxable deduct deduction deductible depreciation equity liquidity portfolio valuation
            ebitda npv irr wacc capex bond bonds yield securities audit fiscal dividend mortgage accrual
            solvency leverage arbitrage volatility inheritance pension vulnerability vulnerabilities
            exploit cve xss csrf injection encryption encrypted cryptographic cryptography oauth tls pki
            rsa aes authentication authorization malware ransomware privilege hmac nonce jwt deadlock
            deadlocks mutex semaphore concurrency concurrent race consistency consistent replication
            replica replicas sharding shard partition partitions consensus raft paxos quorum idempotent
            idempotency linearizable linearizability latency throughput kubernetes failover rollback
            isolation transaction transactions atomic kafka backpressure wal vacuum mvcc downtime
            eigenvalue eigenvalues eigenvector theorem lemma corollary conjecture topology topological
            manifold homomorphism isomorphism isomorphic abelian lebesgue banach hilbert cauchy riemann
            convergence converges asymptotic stochastic markov bayesian bijection induction axiom entropy
            hamiltonian lagrangian thermodynamic quantum enzyme genome allele polymerase stoichiometry
            enthalpy""",
        "es": """responsabilidad contrato cláusula cláusulas demanda demandado jurisdicción dosis
            diagnóstico síntomas paciente contraindicación impuesto impuestos hipoteca amortización
            deducir cifrado vulnerabilidad concurrencia teorema lema despido juzgado herencia""",
        "fr": """responsabilité contrat clause juridiction tribunal posologie dose diagnostic symptômes
            patient contrindication impôt impôts fiscal hypothèque amortissement chiffrement
            vulnérabilité concurrence théorème lemme licenciement bail""",
        "de": """haftung vertrag klausel kündigung gericht zuständigkeit dosierung dosis diagnose
            symptome patient nebenwirkungen steuer steuern hypothek abschreibung verschlüsselung
            sicherheitslücke nebenläufigkeit theorem lemma satz mietvertrag dsgvo""",
        "pt": """responsabilidade contrato cláusula processo jurisdição dosagem dose diagnóstico sintomas
            paciente imposto impostos hipoteca amortização criptografia vulnerabilidade concorrência
            teorema lema rescisão""",
        "it": """responsabilità contratto clausola tribunale giurisdizione dosaggio diagnosi sintomi
            paziente imposta tasse mutuo ammortamento crittografia vulnerabilità concorrenza teorema
            lemma licenziamento""",
        "nl": """aansprakelijkheid contract clausule rechtbank dosering diagnose symptomen patiënt
            belasting belastingen hypotheek afschrijving versleuteling kwetsbaarheid stelling ontslag
            huurcontract avg""",
        "pl": """odpowiedzialność umowa umowy umowie klauzula sąd pozew dawka dawkowanie diagnoza objawy
            pacjent podatek podatku hipoteka amortyzacja szyfrowanie podatność współbieżność twierdzenie
            lemat wypowiedzenie rodo""",
        "ru": """ответственность договор договора договоре иск суд неустойка дозировка доза диагноз
            симптомы пациент налог налоги налога ипотека амортизация шифрование уязвимость репликация
            транзакция теорема лемма увольнение""",
        "tr": """sorumluluk sözleşme sözleşmesi madde mahkeme dava doz dozu teşhis tanı belirtiler hasta
            vergi ipotek amortisman şifreleme güvenlik eşzamanlılık teorem kıdem""",
        "ar": """مسؤولية عقد العقد بند محكمة دعوى جرعة الجرعة تشخيص أعراض مريض ضريبة الضريبة رهن تشفير
            ثغرة نظرية""",
        "hi": "अनुबंध धारा न्यायालय दायित्व खुराक निदान लक्षण मरीज रोगी कर टैक्स ऋण प्रमेय कानून",
        "zh": """合同 条款 條款 诉讼 违约 赔偿 法律 责任 管辖 仲裁 剂量 诊断 症状 患者 禁忌 税 抵扣 折旧
            摊销 对冲 股权 合规 漏洞 加密 死锁 并发 一致性 分布式 事务 副本 定理 引理 特征值""",
        "ja": """契約 条項 訴訟 賠償 法律 責任 管轄 投与 用量 診断 症状 患者 禁忌 税 控除 償却 脆弱性
            暗号 排他 整合性 分散 定理 補題 固有値""",
        "ko": """계약 조항 소송 손해배상 법률 책임 관할 용량 투여 진단 증상 환자 세금 공제 상각 취약점
            암호 교착 동시성 분산 정리 고유값""",
    },
    WordClass.CODE_REQUEST: {
        "en": """function functions class method methods query queries regex regexp script scripts sql
            python javascript typescript java rust golang php ruby kotlin bash powershell api apis
            endpoint endpoints unittest test tests compile compiler compiles code coding program
            programming algorithm algorithms database dockerfile docker git github html css react django
            flask node npm library module variable variables array arrays string loop recursion recursive
            refactor refactoring implement implementation frontend backend deploy deployment terraform
            nginx linux repo commit excel formula macro pandas numpy pytorch cpp async thread threads
            pointer pytest jest sqlite mysql postgresql postgres mongodb redis orm crud kubectl yaml json
            cron shell cli sdk""",
        "es": "función código programa consulta algoritmo prueba pruebas script base datos variable bucle",
        "fr": "fonction code programme requête algorithme tests script données variable boucle",
        "de": "funktion code programm abfrage algorithmus tests skript datenbank variable schleife",
        "pt": "função código programa consulta algoritmo teste testes script banco variável laço",
        "it": "funzione codice programma query algoritmo test script database variabile ciclo",
        "nl": "functie code programma query algoritme tests script database variabele lus",
        "pl": "funkcja funkcję kod kodu program zapytanie algorytm test testy skrypt baza zmienna",
        "ru": "функция функцию код кода программа программу запрос алгоритм тест тесты скрипт база",
        "tr": "fonksiyon kod kodu program sorgu algoritma test betik veritabanı değişken döngü",
        "ar": "دالة كود شفرة برنامج استعلام خوارزمية اختبار بايثون",
        "hi": "फंक्शन कोड प्रोग्राम क्वेरी एल्गोरिदम टेस्ट स्क्रिप्ट पायथन",
        "zh": "函数 函數 代码 代碼 程序 查询 脚本 算法 正则 接口 单元测试 数据库 编程 编译",
        "ja": "関数 コード プログラ クエリ アルゴリ 正規表現 スクリプ テスト 実装 変数",
        "ko": "함수 코드 프로그램 쿼리 알고리즘 정규식 스크립트 테스트 구현 파이썬",
    },
    WordClass.QUESTION: {
        "en": """what what's whats who who's whos whom whose which where where's wheres when when's why
            why's how how's hows""",
        "es": "cuál cuáles cuándo cuánto cuántos cuánta cuántas dónde quién cómo",
        "fr": "comment pourquoi quel quelle quels quelles combien quoi qui qu'est quand",
        "de": "wie warum wer wo welche welcher welches wieviel weshalb wieso wann wen wem",
        "pt": "qual quais quando quanto quantos quantas onde quem como",
        "it": "quale quali quando quanto quanti quante dove cosa cos'è perché qual com'è",
        "nl": "wat wie waar waarom hoe hoeveel welke welk wanneer",
        "pl": "co jak kto gdzie dlaczego czy jaki jaka jakie ile kiedy który która",
        "ru": "что как кто где почему зачем какой какая какие какое сколько когда ли чем",
        "tr": "ne nasıl neden niçin kim nerede hangi kaç kaçtır mı mi mu mü nedir",
        "ar": "ما ماذا كيف لماذا من أين متى هل كم أي",
        "hi": "क्या कैसे क्यों कौन कहाँ कहां कब कितना कितने कितनी कौनसा",
        "zh": "什么 什麼 怎么 怎麼 为什么 如何 哪里 哪个 谁 多少 吗 嗎 几个 是否 怎样",
        "ja": "何 なぜ どう どこ 誰 いつ どの いくら ですか ますか どんな",
        "ko": "무엇 뭐 왜 어떻게 어디 누구 언제 얼마 몇 인가 나요 까요",
    },
    WordClass.AUXILIARY: {
        "en": """is are am was were do does did can could will would shall should has have had may might
            isn't aren't don't doesn't can't couldn't won't""",
        "es": "puedes puede podrías hay es son tiene",
        "fr": "est peux pouvez pourriez peut sont",
        "de": "kannst können könntest ist sind gibt hast hat darf",
        "pt": "pode podes poderia você existe tem",
        "it": "puoi può potresti sai c'è sono",
        "nl": "kun kunt kan is zijn heeft mag",
        "pl": "możesz może mógłbyś jest są mogę",
        "ru": "можешь можете можно может есть",
        "hi": "क्या",
        "ar": "هل",
    },
    WordClass.CODE: {
        "en": """def elif lambda nullptr void int bool str char const constexpr var func fn struct enum
            impl typedef typename namespace async await printf println cout cin endl std sizeof malloc
            fmt console stdin stdout stderr argv argc args kwargs init div href onclick varchar foreach
            endif ifdef ifndef pragma usr sudo apt pip npm chmod grep awk sed curl wget localhost params
            param errno goto isinstance len uint32 uint64 int32 int64 uint8 utf8 uuid boolean tuple dict
            iter iostream noexcept nonlocal mutable rgb px""",
    },
}

# Letters whose base letter Unicode does not give by decomposition.
UNDECOMPOSED = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h",
    "ς": "σ",
}  # fmt: skip
FOLD_FIRST, FOLD_END = 0xC0, 0x700


def fold_letter(char: str) -> str:
    """Lower case without accents, up to FOLD_END (Latin, Greek, Cyrillic, Arabic); others as they are."""
    if char < "\x80":
        return char.lower()
    if not FOLD_FIRST <= ord(char) < FOLD_END:
        return char
    base = "".join(c for c in unicodedata.normalize("NFD", char.lower()) if unicodedata.category(c) != "Mn")
    return UNDECOMPOSED.get(base, base)


def fold_word(word: str) -> str:
    """The form under which a word is looked up."""
    return "".join(fold_letter(char) for char in word.replace("\u2019", "'"))


def collect() -> tuple[dict[str, int], dict[str, int]]:
    """Masks of folded words and of character sequences.

    Raises:
        ValueError: an entry cannot match, or is too long.
    """
    words: dict[str, int] = {}
    sequences: dict[str, int] = {}
    for word_class, languages in WORDS.items():
        for language, text in languages.items():
            for entry in text.split():
                word = unicodedata.normalize("NFC", entry)
                if language in SEQUENCE_LANGUAGES:
                    if len(word) > SEQUENCE_CHARS or max(word) > "\uffff":
                        raise ValueError(f"{word!r} is longer than {SEQUENCE_CHARS} characters of 16 bits")
                    sequences[word] = sequences.get(word, 0) | 1 << word_class
                    continue
                folded = fold_word(word)
                if len(folded.encode()) > KEY_BYTES:
                    raise ValueError(f"{word!r} has {len(folded.encode())} bytes, limit: {KEY_BYTES}")
                if not all(c.isalnum() or c == "'" or unicodedata.category(c)[0] == "M" for c in folded):
                    raise ValueError(f"{word!r} is more than one word")
                words[folded] = words.get(folded, 0) | 1 << word_class
    return words, sequences


U64 = (1 << 64) - 1
WORD_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
SLOT_FACTOR = 0xFF51AFD7ED558CCD
SLOT_BITS = 12
BUCKET_BITS = 10
TAG_BITS = 4
ENTRY_BITS = 16 - TAG_BITS
TAG_SHIFT = 64 - BUCKET_BITS - SLOT_BITS - TAG_BITS
SEQUENCE_BITS = 11
ENDING_BITS = 12
ENDING_FACTOR = 0x9E3779B1
LANE_PARTS = (len(WordClass) + 7) // 8


def word_key(word: str) -> tuple[int, ...]:
    """A folded word's bytes, padded, as four little-endian numbers."""
    data = word.encode().ljust(KEY_BYTES, b"\0")
    return tuple(int.from_bytes(data[at : at + 8], "little") for at in range(0, KEY_BYTES, 8))


@dataclass(frozen=True)
class WordTable:
    """A perfect hash by displacement (Belazzougui, Botelho and Dietzfelbinger 2009).

    The first bits of a key's hash are its bucket, its slot before displacement and its tag. A slot holds the number of
    an entry, 0 for none, and over it the tag of its key, so that few other words look at the entry.
    """

    factors: tuple[int, ...]
    slots: list[int]
    shifts: list[int]


def hash_key(key: Sequence[int], factors: Sequence[int]) -> tuple[int, int, int]:
    """Bucket, slot before displacement and tag."""
    mixed = sum(part * factor for part, factor in zip(key, factors, strict=True)) & U64
    first = mixed >> TAG_SHIFT
    return (
        first >> (SLOT_BITS + TAG_BITS),
        first >> TAG_BITS & ((1 << SLOT_BITS) - 1),
        first & ((1 << TAG_BITS) - 1),
    )


def try_factors(keys: Sequence[tuple[int, ...]], factors: tuple[int, ...]) -> WordTable | None:
    """The table with these factors, if there is one."""
    buckets: dict[int, list[tuple[int, int]]] = {}
    for number, key in enumerate(keys, 1):
        bucket, place, tag = hash_key(key, factors)
        buckets.setdefault(bucket, []).append((tag << ENTRY_BITS | number, place))
    slots = [0] * (1 << SLOT_BITS)
    shifts = [0] * (1 << BUCKET_BITS)
    for bucket, members in sorted(buckets.items(), key=lambda item: (-len(item[1]), item[0])):
        for shift in range(1 << SLOT_BITS):
            places = {place ^ shift for _, place in members}
            if len(places) == len(members) and not any(slots[place] for place in places):
                break
        else:
            return None
        shifts[bucket] = shift
        for slot, place in members:
            slots[place ^ shift] = slot
    return WordTable(factors, slots, shifts)


def place_words(keys: Sequence[tuple[int, ...]]) -> WordTable:
    """The table of the first factors that have one.

    Raises:
        ValueError: too many words.
    """
    if len(keys) >= 1 << ENTRY_BITS:
        raise ValueError(f"{len(keys)} words, limit: {(1 << ENTRY_BITS) - 1}")
    for step in range(100):
        table = try_factors(keys, tuple(factor + 2 * step for factor in WORD_FACTORS))
        if table:
            return table
    raise ValueError(f"{len(keys)} words find no place in {1 << SLOT_BITS} slots")


def sequence_key(sequence: str) -> int:
    """The characters, 16 bits each, the last one lowest."""
    key = 0
    for char in sequence:
        key = key << 16 | ord(char)
    return key


def place_sequences(groups: Mapping[str, int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Open addressing by key; and the lengths of the sequences that end in a character, by its hash."""
    slots = [(0, 0)] * (1 << SEQUENCE_BITS)
    lengths = [0] * (1 << ENDING_BITS)
    for sequence, group in groups.items():
        key = sequence_key(sequence)
        place = (key * SLOT_FACTOR & U64) >> (64 - SEQUENCE_BITS)
        while slots[place][0]:
            place = (place + 1) % len(slots)
        slots[place] = (key, group)
        ending = (ord(sequence[-1]) * ENDING_FACTOR & 0xFFFFFFFF) >> (32 - ENDING_BITS)
        lengths[ending] |= 1 << len(sequence) - 1
    return slots, lengths


def fold_entry(code: int) -> int:
    """fold_letter() of a code point: 0 nothing, from 0x8000 two ASCII letters of 7 bits, else one letter."""
    folded = fold_letter(chr(code))
    if len(folded) == 2:
        return 0x8000 | ord(folded[0]) << 7 | ord(folded[1])
    return ord(folded) if folded else 0


def array(kind: str, name: str, values: Sequence[str], size: int | None = None) -> str:
    """A C array, wrapped; `size` is that of the last dimension, unless it is the number of values."""
    lines = [""]
    for value in values:
        if len(lines[-1]) + len(value) > 116:
            lines.append("")
        lines[-1] += value + ","
    return f"static const {kind} {name}[{size or len(values)}] = {{\n" + "\n".join(lines) + "\n};\n"


def lanes(mask: int) -> tuple[int, ...]:
    """A one in the byte of every class of a mask, eight classes a number."""
    ones = [sum(1 << 8 * k for k in range(8) if mask >> 8 * part + k & 1) for part in range(LANE_PARTS)]
    return tuple(ones)


def functions(factors: Sequence[int]) -> str:
    """The C functions over the tables."""
    return f"""
/* The group of a folded word of up to {KEY_BYTES} bytes, as little-endian numbers padded with zero bytes; 0: none.
   Without branches, since no predictor knows which words a text has. */
static inline uint32_t word_group(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {{
  uint64_t hash = a * {factors[0]:#x}u + b * {factors[1]:#x}u + c * {factors[2]:#x}u + d * {factors[3]:#x}u;
  uint64_t place = hash >> {64 - BUCKET_BITS - SLOT_BITS} ^ word_shifts[hash >> {64 - BUCKET_BITS}];
  uint32_t slot = word_slots[place & {(1 << SLOT_BITS) - 1}];
  uint32_t same_tag = slot >> {ENTRY_BITS} == (hash >> {TAG_SHIFT} & {(1 << TAG_BITS) - 1});
  const word_entry_t *entry = &word_entries[slot & {(1 << ENTRY_BITS) - 1} & -same_tag];
  uint64_t difference = (entry->key[0] ^ a) | (entry->key[1] ^ b) | (entry->key[2] ^ c) | (entry->key[3] ^ d);
  return entry->group & -(uint32_t)(difference == 0);
}}

/* Bit k: some sequence of k + 1 characters may end in this one. */
static inline unsigned sequence_lengths_at(uint32_t code) {{
  return sequence_lengths[(code * {ENDING_FACTOR:#x}u) >> {32 - ENDING_BITS}];
}}

/* The group of a sequence, given as 16 bits a character. */
static inline uint32_t sequence_group(uint64_t key) {{
  uint64_t place = (key * {SLOT_FACTOR:#x}u) >> {64 - SEQUENCE_BITS};
  while (sequence_slots[place].key != 0) {{
    if (sequence_slots[place].key == key) return sequence_slots[place].group;
    place = (place + 1) & {(1 << SEQUENCE_BITS) - 1};
  }}
  return 0;
}}
#endif
"""


def render() -> str:
    """The header's text."""
    words, sequences = collect()
    keys = [word_key(word) for word in words]
    table = place_words(keys)
    # Words of equal classes share a group.
    masks = sorted({0, *words.values(), *sequences.values()})
    groups = {mask: group for group, mask in enumerate(masks)}
    sequence_slots, lengths = place_sequences({word: groups[mask] for word, mask in sequences.items()})
    entries = [
        f"{{{{{','.join(f'{part:#x}' if part else '0' for part in key)}}},{groups[mask]}}}"
        for key, mask in zip([(0, 0, 0, 0), *keys], [0, *words.values()], strict=True)
    ]
    steps = [f"{{{','.join(f'{part:#x}' for part in lanes(mask))}}}" for mask in masks]
    return "".join(
        [
            "/* Generated by turnout_fastpath.training.word_classes; do not edit. */\n",
            "#ifndef TURNOUT_WORD_CLASSES_H\n#define TURNOUT_WORD_CLASSES_H\n#include <stdint.h>\n\n",
            "enum { " + ", ".join(f"CLASS_{c.name} = {c}" for c in WordClass) + " };\n",
            f"enum {{ LANE_PARTS = {LANE_PARTS} }};\n",
            f"enum {{ FOLD_FIRST = {FOLD_FIRST:#x}, FOLD_END = {FOLD_END:#x} }};\n",
            "typedef struct { uint64_t key[4]; uint32_t group; } word_entry_t;\n",
            "typedef struct { uint64_t key; uint32_t group; } sequence_entry_t;\n\n",
            "/* Bit k: the class k. */\n",
            array("uint32_t", "group_classes", [f"{mask:#x}" for mask in masks]),
            "/* A one in the byte of each class, to count many words at once. */\n",
            array("uint64_t", f"group_steps[{len(steps)}]", steps, LANE_PARTS),
            "/* Entry 0 is no word. */\n",
            array("word_entry_t", "word_entries", entries),
            array("uint16_t", "word_slots", [str(slot) for slot in table.slots]),
            array("uint16_t", "word_shifts", [str(shift) for shift in table.shifts]),
            array("sequence_entry_t", "sequence_slots", [f"{{{k:#x},{g}}}" for k, g in sequence_slots]),
            array("uint8_t", "sequence_lengths", [str(length) for length in lengths]),
            "/* From FOLD_FIRST: 0 nothing, from 0x8000 two ASCII letters of 7 bits, else a code point. */\n",
            array("uint16_t", "letter_fold", [str(fold_entry(code)) for code in range(FOLD_FIRST, FOLD_END)]),
            functions(table.factors),
        ]
    )


def main() -> int:
    """Writes the header, or with --check compares it."""
    path = Path(sys.argv[1])
    text = render()
    if "--check" not in sys.argv:
        path.write_text(text, encoding="ascii")
        return 0
    if path.read_text(encoding="ascii") != text:
        print(f"{path} is stale; regenerate it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
