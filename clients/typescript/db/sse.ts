// Server-sent events, by the rules of the HTML standard.

/** An event of a stream. */
export interface StreamEvent {
  type: string;
  data: string;
}

/**
 * Returns a function that takes the next bytes of a stream and returns the events that they complete. A line ends with LF, CR or
 * CRLF. The decoder removes a byte order mark at the start.
 */
export function parser(): (bytes: Uint8Array) => StreamEvent[] {
  const decoder = new TextDecoder();
  let rest = '';
  let endsWithCr = false;
  let type = '';
  let data: string[] = [];
  return (bytes) => {
    let text = decoder.decode(bytes, { stream: true });
    if (!text) return [];
    // The second half of a CRLF that was split.
    if (endsWithCr && text.startsWith('\n')) text = text.slice(1);
    endsWithCr = text ? text.endsWith('\r') : false;
    const lines = text.split(/\r\n|\r|\n/);
    lines[0] = rest + lines[0];
    rest = lines.pop()!;
    const events: StreamEvent[] = [];
    for (const line of lines) {
      if (line === '') {
        // An event without data is none, except for the end of the stream.
        if (data.length > 0 || type === 'complete') events.push({ type, data: data.join('\n') });
        type = '';
        data = [];
        continue;
      }
      const [, name, value = ''] = /^([^:]*)(?:: ?([^]*))?$/.exec(line)!;
      if (name === 'event') type = value;
      if (name === 'data') data.push(value);
    }
    return events;
  };
}
