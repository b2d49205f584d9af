// Requests to the server that this page came from.

import { ApiError, UNREACHABLE, isAbort } from "./errors.js";
import { forgetKey, key, wantKey } from "./key.js";

async function send(method, path, { json, form, signal, accept } = {}) {
    const headers = {};
    if (key()) headers.Authorization = `Bearer ${key()}`;
    if (json !== undefined) headers["Content-Type"] = "application/json";
    if (accept) headers.Accept = accept;
    const body = json !== undefined ? JSON.stringify(json) : form;
    try {
        return await fetch(path, { method, headers, body, signal });
    } catch (error) {
        if (isAbort(error)) throw error;
        throw new ApiError("The server does not answer. If it was closed, start it again: asl-llamacpp serve", {
            code: UNREACHABLE,
        });
    }
}

/** The response of a request that worked. ApiError for one that did not; a key is asked for where one is missing. */
export async function request(method, path, options) {
    for (;;) {
        const sent = key();
        const response = await send(method, path, options);
        if (response.ok) return response;
        if (response.status === 401) {
            if (sent === key()) forgetKey();
            await wantKey();
            continue;
        }
        let error = {};
        try {
            error = (await response.json()).error ?? {};
        } catch {
            error = { message: `The server answered ${response.status} ${response.statusText}` };
        }
        throw ApiError.of(error, response.status);
    }
}

export async function getJson(path, options) {
    return (await request("GET", path, options)).json();
}

export function documentPath(id, rest = "") {
    return `v1/documents/${encodeURIComponent(id)}${rest}`;
}

/** An address for an <img>. With a key the picture has to be fetched first; then `release` lets go of it. */
export async function pictureAddress(path, signal) {
    if (!key()) return { address: path, release() {} };
    const response = await request("GET", path, { signal });
    const address = URL.createObjectURL(await response.blob());
    return { address, release: () => URL.revokeObjectURL(address) };
}
