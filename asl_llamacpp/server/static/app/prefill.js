// The first prefill of the document that is open, so that its first question need not wait for all of it.

import { documentPath, request } from "./api.js";
import { isAbort } from "./errors.js";
import { events } from "./sse.js";

/** Events: "change". `state`: "idle", "running", "stopped", "failed"; `progress`: the newest; `error`. */
export class Prefill extends EventTarget {
    constructor(library) {
        super();
        this.library = library;
        this.id = null;
        this.state = "idle";
        this.settled = new Set(); // documents that are not begun again by themselves: done, stopped or failed
    }

    /** Begin it for the open document where there is need of it. */
    consider() {
        const document = this.library.open;
        if (this.id && this.id !== document?.id) this.cancel();
        if (!document || document.status !== "ready" || document.state === "kept") return;
        if (this.id === document.id || this.settled.has(document.id)) return;
        this.run(document.id);
    }

    async run(id) {
        this.cancel();
        const controller = new AbortController();
        Object.assign(this, { id, controller, progress: {}, error: null });
        this.settled.delete(id);
        this.set("running");
        try {
            const response = await request("POST", documentPath(id, "/prefill"), { signal: controller.signal, accept: "text/event-stream" });
            for await (const event of events(response)) {
                if (this.controller !== controller) return;
                if (event.document) this.library.put(event.document);
                if (event.prompt_progress) {
                    this.progress = event.prompt_progress;
                    this.set("running");
                }
            }
            if (this.controller !== controller) return;
            this.settled.add(id);
            this.end("idle");
        } catch (error) {
            if (this.controller !== controller) return;
            this.error = isAbort(error) ? null : error;
            this.settled.add(id);
            const gone = error.status === 404; // removed meanwhile, or a server that does not do this
            this.end(gone ? "idle" : isAbort(error) ? "stopped" : "failed");
        }
    }

    stop() {
        this.controller?.abort();
    }

    /** End one that nobody looks at any more. */
    cancel() {
        const { controller } = this;
        this.controller = null;
        this.id = null;
        controller?.abort();
        if (this.state !== "idle") this.set("idle");
    }

    end(state) {
        if (state === "idle") this.id = null;
        this.set(state);
    }

    set(state) {
        this.state = state;
        this.dispatchEvent(new Event("change"));
    }
}
