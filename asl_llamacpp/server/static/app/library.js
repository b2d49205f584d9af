// The documents that the server has, and those on their way to it.

import { documentPath, getJson, request } from "./api.js";
import { UNREACHABLE } from "./errors.js";

const EVERY = 700; // ms between two looks at a document that is being read
const LIST_EVERY = 15000; // ms between two looks at the list: other tabs add and remove too

/** Events: "change" (the list), "open" (detail: the id now open), "trouble" (detail: an error, or null when it is over). */
export class Library extends EventTarget {
    constructor() {
        super();
        this.documents = [];
        this.loaded = false;
        this.openId = null;
        this.uploads = 0;
    }

    get open() {
        return this.find(this.openId);
    }

    find(id) {
        return this.documents.find((document) => document.id === id) ?? null;
    }

    start() {
        this.refresh();
        setInterval(() => document.visibilityState === "visible" && this.refresh(), LIST_EVERY);
        addEventListener("focus", () => this.refresh());
    }

    async refresh() {
        try {
            const { data } = await getJson("v1/documents");
            this.loaded = true;
            const local = this.documents.filter(({ id }) => id.startsWith("local-"));
            this.documents = [...local, ...data.sort((a, b) => b.created_at - a.created_at)];
            this.tell("trouble", null);
            this.tell("change");
            if (this.openId && !this.open) this.choose(null);
            if (!this.openId) this.choose(this.remembered()?.id ?? this.documents[0]?.id ?? null);
            this.watch();
        } catch (error) {
            this.tell("trouble", error);
            if (error.code === UNREACHABLE) setTimeout(() => this.refresh(), 2000);
        }
    }

    /** The one in the address, else the one that was open last. */
    remembered() {
        const inAddress = decodeURIComponent(location.hash.slice(1));
        return this.find(inAddress) ?? this.find(localStorage.getItem("asl:open"));
    }

    choose(id) {
        if (id === this.openId) return;
        this.openId = id;
        if (id && !id.startsWith("local-")) {
            localStorage.setItem("asl:open", id);
            history.replaceState(null, "", `#${encodeURIComponent(id)}`);
        } else {
            history.replaceState(null, "", location.pathname + location.search);
        }
        this.tell("open", id);
        this.watch();
    }

    /** Look after documents that are being read until they are ready or failed. */
    watch() {
        clearTimeout(this.timer);
        if (!this.documents.some(({ status, id }) => status === "reading" && !id.startsWith("local-"))) return;
        this.timer = setTimeout(async () => {
            await Promise.all(
                this.documents
                    .filter(({ status, id }) => status === "reading" && !id.startsWith("local-"))
                    .map(({ id }) => this.look(id)),
            );
            this.watch();
        }, EVERY);
    }

    async look(id) {
        try {
            this.put(await getJson(documentPath(id)));
        } catch (error) {
            if (error.status === 404) this.drop(id);
            else this.tell("trouble", error);
        }
    }

    /** Take a document's newest state. */
    put(document, instead = document.id) {
        const at = this.documents.findIndex(({ id }) => id === instead);
        const rest = this.documents.filter(({ id }, i) => i !== at && id !== document.id);
        rest.splice(Math.max(at, 0), 0, document);
        this.documents = rest;
        this.tell("change");
    }

    drop(id) {
        this.documents = this.documents.filter((document) => document.id !== id);
        this.tell("change");
        if (this.openId === id) this.choose(this.documents[0]?.id ?? null);
    }

    /** Send files, each on its own, so that a bad one keeps none of the others; opens the first. */
    async add(files) {
        const entries = [...files].map((file) => {
            this.uploads += 1;
            const entry = {
                id: `local-${Date.now()}-${this.uploads}`, name: file.name, bytes: file.size,
                status: "reading", state: "none", sending: true, created_at: Date.now() / 1000,
            };
            this.put(entry);
            return { file, entry };
        });
        if (entries.length) this.choose(entries[0].entry.id);
        for (const { file, entry } of entries) await this.send(file, entry);
        this.watch();
    }

    async send(file, entry) {
        const form = new FormData();
        form.append("files", file, file.name);
        try {
            const { data } = await (await request("POST", "v1/documents", { form })).json();
            const wasOpen = this.openId === entry.id;
            this.put(data[0], entry.id);
            if (wasOpen) this.choose(data[0].id);
        } catch (error) {
            this.put({ ...entry, status: "failed", sending: false, error: { message: error.message } });
        }
    }

    async remove(id) {
        if (!id.startsWith("local-")) {
            try {
                await request("DELETE", documentPath(id));
            } catch (error) {
                if (error.status !== 404) throw error;
            }
        }
        this.drop(id);
    }

    tell(name, detail) {
        this.dispatchEvent(new CustomEvent(name, { detail }));
    }
}

/** Why a document failed. */
export function failure(document) {
    const { error } = document;
    return (typeof error === "string" ? error : error?.message) || "This document cannot be read.";
}
