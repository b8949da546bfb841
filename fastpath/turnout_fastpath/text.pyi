import numpy as np
import numpy.typing as npt

def scan(text: str | bytes) -> npt.NDArray[np.float32]:
    r"""The 64 text features, shape (64,), in the order of `text_features.FEATURE_NAMES`.

    Text is read as UTF-8; each maximal invalid part, and each byte of a lone surrogate, reads as one U+FFFD. Of a text
    longer than 1 MiB only the characters that end in its first 1 MiB are scanned; only `bytes` looks further.

    Terms:
        Letter, mark, digit: Unicode categories L, M and Nd. "ASCII" is said where only ASCII counts.
        White space: space, tab, line feed, vertical tab, form feed and carriage return ("ASCII white space"); beyond
            ASCII what `str.isspace` says.
        Word: a letter, digit or underscore and all letters, digits, underscores and marks behind it, and apostrophes
            (' or ’) that have a letter, digit or underscore behind them; it holds a letter or a digit. A word ends where
            Han and kana, Thai and Lao, or Hangul begins. Runs of these and of marks are words of their own: a run of
            Hangul is one word; as the others write no spaces, a run of Han and kana is cut into words of 2 characters,
            one of Thai or Lao into words of 4, the last of which may be shorter.
        Line: what stands between line feeds. Its content begins behind its ASCII white space, and lines without content
            do not count.
        Chunk: what stands between white space.

    Sizes:
        bytes: UTF-8 bytes of the whole text.
        chars: characters.
        words: words.
        lines: lines with content.
        sentences: ends of sentences that have a word behind the previous end; the text's end is one. The others are
            . ! ? with white space or the text's end behind them, where closing marks " ' ) ] * ’ ” » may stand between,
            and 。 ！ ｡ … । ۔ ？ ؟ anywhere.
        mean_word_chars: characters a word; 0 without words.
        longest_word_chars: characters of the longest word.

    Make-up, as shares of `chars`; 0 for no text:
        letter_share: letters.
        upper_share: upper-case and title-case letters (Lu, Lt).
        digit_share: digits.
        punctuation_share: the 32 ASCII punctuation characters, and beyond ASCII categories P and S; without the
            apostrophes in words.
        non_ascii_share: characters from U+0080 on.

    Code:
        code_fences: lines whose content begins with ``` or ~~~.
        inline_code_spans: half of the runs of one or two backticks in a line, rounded down, summed over the lines.
        code_marks: { and }; a ; at the end of a line (before a line feed, a carriage return or the text's end); and the
            pairs () [] == != <= >= => -> :: && || += -= *= /= := /* */ </ /> << >> ++, overlapping ones too, but a run of
            one character holds one pair.
        identifiers: words outside of runs with an underscore and a letter, with an ASCII capital behind a small ASCII
            letter, or of two or more characters before a ( other than that of (s), unless an ASCII digit begins them.
        code_words: words of class CODE.
        indented_lines: lines with content that begin with a tab or two spaces.
        paths_and_urls: chunks that hold one of: /, before it : and behind it /; a slash that neither follows < nor lacks
            an ASCII letter, . or _ behind it, if it begins the chunk, follows one of . ~ " ' ` ( = : or is the second one;
            the word www, a . and behind it an ASCII letter, digit or underscore; @ between ASCII letters, digits or underscores; a backslash between : and an ASCII
            letter.

    Mathematics:
        math_marks: an ASCII operator between operands, which either touch it or stand behind one space each. The left
            operand ends with an ASCII letter, an ASCII digit or one of ) ] }, the right one begins with a letter, a digit
            or one of ( [ { \; for * / < > - one of the two characters is a digit, and - has the spaces. The other
            operators are = + ^. And beyond ASCII what is no letter of ± ² ³ ¹ × ÷, U+2070-209F, U+2200-22FF, U+27C0-27EF
            and U+2980-2AFF.
        latex_marks: backslashes before two ASCII letters, ( or [, but a drive's path is none; ^{ and _{; $$; and a $ that
            closes a formula: an unpaired $ stands before it in its line, no white space directly before and no ASCII
            digit behind it.
        numbers: words that begin with a digit; behind the digits of another and one of . , : they continue that number.
        longest_number_digits: most leading digits in a number and its continuations.
        money_and_percent: $ before an ASCII digit; % behind an ASCII digit or one and a space; ¢ £ ¤ ¥, U+20A0-20CF, ％ ￥.

    Questions:
        question_marks: ? ？ ؟.
        question_words: words of class QUESTION.
        opens_with_question: 1 if the first word has class QUESTION or AUXILIARY, or if it begins a run in whose first 8
            characters a sequence of class QUESTION ends.

    Enumerations, structure, pasted material:
        list_items: lines whose content begins with - * + – or — and a space (for the first three also a tab); with up to
            three ASCII digits and 、, or . or ) and a space or tab; with ( and up to three ASCII digits and ) and a space
            or tab; or with one of · • ‣ ● ◦ ▪ ① to ⑳.
        answer_options: lines whose content begins with a letter A-J or a-j, one of . ) : and a space or tab; and such
            letters in parentheses between ASCII white space or the text's ends.
        quoted_lines: lines whose content begins with >.
        quotations: half of the straight double quotes, rounded down, and “ « 「 『.
        table_lines: lines with two | that do not touch another, or with two tabs in their content.
        markup_tags: <, an ASCII letter, ! or a slash and an ASCII letter, and the next > in the line if no < stands between.
        json_marks: the pairs ": {" [" [{ }, ], "} "] }], overlapping ones too.
        log_lines: lines that hold a time (ASCII digit, colon, two digits, colon, two digits), a word of class FAULT before
            a : or ], or a word that ends in Error, Exception or Warning before a colon; or whose content begins with a
            word of class FAULT in ASCII capitals, with a date (2024-01-31, 2024/01/31), [ or ( and a date, `File "`,
            `Traceback (`, or behind white space `at `.
        field_lines: lines in which one to three words and at most 32 characters stand between the beginning of the
            content and the first : or ：, all of them ASCII letters, digits, spaces, - * _ " ' ( ) / . # & > or beyond
            ASCII; behind : is ASCII white space, " or the text's end.

    Scripts, as shares of letters; 0 without letters. Marks and digits do not count:
        latin_share, accented_latin_share (Latin beyond ASCII), cyrillic_share, greek_share, arabic_share, hebrew_share,
        indic_share (Devanagari, Bengali, Tamil, Telugu, Gujarati, Gurmukhi, Kannada, Malayalam, Oriya, Sinhala),
        thai_share (with Lao), hangul_share, kana_share, han_share: as the first word of the character's Unicode name says.
        emoji: characters of U+2600-27BF, U+1F000-1FAFF, U+2B50, U+2B55.

    Words of a class, counted:
        social_words to code_request_words: words of the class in `training/word_classes.py`, compared without case and
            accents; in runs of Han, kana and Hangul its character sequences, overlapping ones too.
    """
