import type { FormEvent } from "react";
import type { Citation, Source } from "zantara-stream";
import { useZantaraStream, type View } from "zantara-stream/react";

const url = import.meta.env.VITE_ZANTARA_URL ?? "http://127.0.0.1:8080";

export function App() {
  const { ask, stop, reconnect, ...answer } = useZantaraStream({ url, resume: true });
  const running = answer.loading || answer.streaming || answer.reconnecting;

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    ask(String(new FormData(event.currentTarget).get("question")));
  }

  return (
    <main>
      <h1>Ask the documents</h1>
      <form onSubmit={submit}>
        <label htmlFor="question">Question</label>
        <input id="question" name="question" required maxLength={8000} autoComplete="off" />
        <button type="submit">Ask</button>
        <button type="button" onClick={stop} disabled={!running}>Stop</button>
      </form>
      <div className="status">
        <span role="status">{status(answer)}</span>
        {answer.reconnecting && <button type="button" onClick={reconnect}>Try now</button>}
      </div>
      {answer.error && <p role="alert" className="error">{answer.error.message}</p>}
      {answer.query && <h2>{answer.query}</h2>}
      <div className="answer" aria-live="polite" aria-busy={running}>{answer.text}</div>
      <Sources sources={answer.sources} citations={answer.citations} />
    </main>
  );
}

function status({ loading, reconnecting, retryIn = 0, state }: View) {
  if (loading) return "Reading the documents …";
  if (reconnecting) return `The connection was lost. The next attempt is in ${Math.ceil(retryIn / 1000)} s.`;
  return { streaming: "Writing …", complete: "Complete.", stopped: "Stopped." }[state as string];
}

function Sources({ sources, citations }: { sources: readonly Source[]; citations: readonly Citation[] }) {
  if (!sources.length) return null;
  return (
    <section aria-labelledby="sources">
      <h2 id="sources">Sources</h2>
      <ol>
        {sources.map((source) => (
          <li key={source.passage}>
            <Name source={source} />
            {quotes(source, citations).map((quote) => <blockquote key={quote}>{quote}</blockquote>)}
          </li>
        ))}
      </ol>
    </section>
  );
}

function Name({ source: { source, url } }: { source: Source }) {
  return url && /^https?:/i.test(url) ? <a href={url}>{source}</a> : <strong>{source}</strong>;
}

function quotes(source: Source, citations: readonly Citation[]) {
  const said = citations.filter((citation) => citation.passage === source.passage).map(({ quote }) => quote);
  return said.length ? [...new Set(said)] : [source.snippet];
}
