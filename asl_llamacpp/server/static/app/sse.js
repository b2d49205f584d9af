// Server-sent events of an answer to fetch, as llama.cpp's and OpenAI's servers write them.

import { ApiError } from "./errors.js";

/** The JSON objects of a stream, up to "[DONE]". ApiError: the server told one, or the stream broke off. */
export async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new ApiError("The connection to the server broke off.", { code: "broken_off" });
        rest += value;
        const lines = rest.split(/\r?\n/);
        rest = lines.pop();
        for (const line of lines) {
            if (!line.startsWith("data:")) continue;
            const data = line.slice(5).trim();
            if (data === "[DONE]") return;
            const event = JSON.parse(data);
            if (event.error) throw ApiError.of(event.error);
            yield event;
        }
    }
}
