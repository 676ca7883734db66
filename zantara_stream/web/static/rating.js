// What the reader thinks of an answer, sent at once; a comment may follow, and a second rating takes the first one's place.

import { byId, element } from "./dom.js";
import { request } from "./requests.js";

export class Rating {
  #group = byId("rating");
  #comment = byId("comment");
  #text = byId("comment-text");
  #buttons;
  #id; // of the answer
  #given;
  #token;
  #say;

  // `token` gets the token now, `say` tells the reader something.
  constructor(token, say) {
    this.#token = token;
    this.#say = say;
    this.#buttons = [1, 2, 3, 4, 5].map((rating) => this.#button(rating));
    this.#group.append(...this.#buttons);
    this.#comment.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(this.#given, "Thank you for the comment.");
    });
  }

  // Asks for a rating of that answer; of none, if there is no id.
  begin(id) {
    this.#id = id;
    this.#group.hidden = !id;
    this.#comment.hidden = true;
    this.#text.value = "";
    this.#press(undefined);
  }

  #button(rating) {
    const attributes = { type: "button", class: "small", "aria-label": `${rating} of 5`, "aria-pressed": "false" };
    const button = element("button", attributes, String(rating));
    button.addEventListener("click", () => this.#send(rating, `Thank you: rated ${rating} of 5.`));
    return button;
  }

  #press(rating) {
    this.#given = rating;
    this.#buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index + 1 === rating)));
  }

  async #send(rating, thanks) {
    const body = { answer: this.#id, rating, comment: this.#text.value.trim() };
    try {
      await request("/bali-zero/feedback", { method: "POST", body, token: this.#token() });
      if (body.answer !== this.#id) return;
      this.#press(rating);
      this.#comment.hidden = false;
      this.#say(thanks);
    } catch (refused) {
      this.#say(refused.message);
    }
  }
}
