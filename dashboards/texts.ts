/** Languages of the generated dashboards. Chinese comes first; each set links to the other. */
export const languages = ["zh", "en"] as const;
export type Language = (typeof languages)[number];

/** A text for people in both languages. */
export type Text = { readonly zh: string; readonly en: string };

/** Says a text in the language of the set that is being made. */
export type Say = (text: Text) => string;

export const sayIn =
  (language: Language): Say =>
  (text) =>
    text[language];
