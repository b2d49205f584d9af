// What went wrong, in words for people.

export class ApiError extends Error {
    constructor(message, { status = 0, code = null, param = null } = {}) {
        super(message);
        this.name = "ApiError";
        this.status = status;
        this.code = code;
        this.param = param;
    }

    /** Of the server's error object. */
    static of(error, status = 0) {
        return new ApiError(sentence(error.message || "The server failed and did not say why."), { ...error, status });
    }
}

export const UNREACHABLE = "unreachable";

/** Whether it is only that the person pressed stop, or left. */
export function isAbort(error) {
    return error?.name === "AbortError";
}

export function sentence(text) {
    const trimmed = text.trim();
    return /[.!?…:)]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}
