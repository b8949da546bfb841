import numpy as np
import numpy.typing as npt

def scan(text: str | bytes) -> npt.NDArray[np.float32]:
    r"""The 64 text features, shape (64,), in the order of `text_features.FEATURE_NAMES`.

    Text is read as UTF-8; each maximal invalid part, and each byte of a lone surrogate, reads as one U+FFFD. Of a
    text longer than 1 MiB only the characters that end in its first 1 MiB are scanned; only `bytes` looks further.

    Terms:
        Letter, mark, digit: Unicode categories L, M and Nd. "ASCII" is said where only ASCII counts.
        Blank: space, tab, line feed, vertical tab, form feed, carriage return. Where a blank must stand before or
            behind something, the text's beginning or end does as well.
        Word: a letter, digit or underscore and all letters, digits, underscores and marks behind it, and apostrophes
            (' or ’) that have a letter, digit or underscore behind them; it holds a letter or a digit. A word ends
            where Han and kana, Thai and Lao, or Hangul begins. Runs of these and of marks are words of their own: a
            run of Hangul is one word; as the others write no spaces, a run of Han and kana is cut into words of 2
            characters, one of Thai or Lao into words of 4, the last of which may be shorter.
        Line: what stands between line feeds. Its content begins behind its blanks; lines without content do not count.
        Chunk: what stands between blanks.

    Sizes:
        bytes: UTF-8 bytes of the whole text.
        chars: characters.
        words: words.
        lines: lines.
        sentences: ends of sentences that have a word between them and the end before. Ends are the text's end; . ! ?
            with a blank behind, where closing marks " ' ) ] * ’ ” » may stand between; and 。 ！ ｡ … । ۔ ？ ؟.
        mean_word_chars: characters a word; 0 without words.
        longest_word_chars: characters of the longest word.

    Make-up, as shares of `chars`; 0 for an empty text:
        letter_share: letters.
        upper_share: upper-case and title-case letters (categories Lu and Lt).
        digit_share: digits.
        punctuation_share: the 32 ASCII punctuation characters and, beyond ASCII, categories P and S; without the
            apostrophes in words.
        non_ascii_share: characters from U+0080 on.

    Code:
        code_fences: lines whose content begins with ``` or ~~~.
        inline_code_spans: half of the runs of one or two backticks in a line, rounded down, summed over the lines.
        code_marks: { and }; a ; with a line feed, a carriage return or the text's end behind; and the pairs == != <= >=
            => -> :: && || += -= *= /= := /* */ </ /> << >> ++, overlapping ones too, but a run of one mark is one pair.
        identifiers: words outside of runs with an underscore and a letter, with an ASCII capital behind a small ASCII
            letter, or of two or more characters, the first no ASCII digit, before a ( that does not begin (s).
        code_words: words of class CODE.
        indented_lines: lines that begin with a tab or two spaces.
        paths_and_urls: chunks that hold a / between : and /; a / that no < precedes and an ASCII letter, . or _ follows,
            if it begins the chunk, follows one of . ~ " ' ` ( = : or is the second of that kind; a @ between ASCII
            letters, digits or underscores; or a backslash between : and an ASCII letter.

    Mathematics:
        math_marks: = + ^ * / < > - between two operands, which either both touch it or both stand behind one space. The
            left operand ends with an ASCII letter, an ASCII digit or one of ) ] }, the right one begins with a letter, a
            digit or one of ( [ { \. For * / < > - one of these two characters is a digit, and - has the spaces. Beyond
            ASCII: ± ² ³ ¹ × ÷ and what is no letter of U+2070-209F, U+2200-22FF, U+27C0-27EF and U+2980-2AFF.
        latex_marks: backslashes before two ASCII letters, ( or [, but before a letter and behind : they are a path; {
            behind ^ or _; $$; and each $ that closes a formula: before it in its line is a $ that is no such mark and
            opens none, directly before it no blank, behind it no ASCII digit.
        numbers: words that begin with a digit, unless they continue a number, behind its digits and one of . , :.
        longest_number_digits: most leading digits in a number and what continues it.
        money_and_percent: $ (but not $$) before an ASCII digit; % behind an ASCII digit or such a digit and a space;
            ¢ £ ¤ ¥, U+20A0-20CF, ％ and ￥.

    Questions:
        question_marks: ? ？ ؟.
        question_words: words of class QUESTION.
        opens_with_question: 1 if the first word has class QUESTION or AUXILIARY, or if it begins a run in whose first 8
            characters a sequence of class QUESTION ends.

    Enumerations, structure, pasted material:
        list_items: lines whose content begins with - * + – or — and a space (for the first three also a tab); with one
            to three ASCII digits and 、, or . or ) and a space or tab; with ( and one to three ASCII digits and ) and a
            space or tab; or with one of · • ‣ ● ◦ ▪ ① to ⑳.
        answer_options: lines whose content begins with a letter A-J or a-j, one of . ) : and a space or tab; and such
            letters in parentheses between blanks.
        quoted_lines: lines whose content begins with >.
        quotations: half of the straight double quotes, rounded down, and each “ « 「 『.
        table_lines: lines with two | that touch no other |, or with two tabs in their content.
        markup_tags: < before an ASCII letter, ! or a slash and an ASCII letter, with a > behind in its line and no < or >
            between.
        json_marks: the pairs ": {" [{ "} }, }].
        log_lines: lines that hold a time (ASCII digit, colon, two digits, colon, two digits), or error, exception, warn,
            warning, fatal, critical or panic before a colon, in whatever case and as the end of a word too; or whose
            content begins with a date (2024-01-31, 2024/01/31), with [ or ( and a date, with a level in capitals (TRACE
            DEBUG INFO NOTICE WARN WARNING ERROR FATAL CRITICAL) or [ and a level before a blank, : or ], with `File "`,
            `Traceback (`, or behind blanks with `at `.
        field_lines: lines in which one to three words and at most 32 characters stand between the beginning of the
            content and the first : or ：, all of them ASCII letters, digits, spaces, - * _ " ' ( ) / . # & > or beyond
            ASCII; behind : is a blank or ".

    Scripts, as shares of letters; 0 without letters:
        latin_share, accented_latin_share (Latin beyond ASCII), cyrillic_share, greek_share, arabic_share, hebrew_share,
        indic_share (Devanagari, Bengali, Tamil, Telugu, Gujarati, Gurmukhi, Kannada, Malayalam, Oriya, Sinhala),
        thai_share (with Lao), hangul_share, kana_share, han_share: as the first word of the letter's Unicode name says.
        emoji: a count: characters of U+2600-27BF, U+1F000-1FAFF, U+2B50 and U+2B55.

    Words of a class, counted:
        social_words to code_request_words: words of the class in `training/word_classes.py`, compared without case and
            accents; in runs of Han, kana and Hangul its character sequences, overlapping ones too.
    """
