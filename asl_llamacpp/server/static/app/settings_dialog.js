// The settings: a few for everyone, the rest behind "For experts".

import { getJson } from "./api.js";
import { byId, h, newId } from "./dom.js";
import { icon } from "./icons.js";
import { notice } from "./notices.js";
import { number } from "./words.js";

const LENGTHS = [[128, "Short"], [512, "Medium"], [1024, "Long"], [2048, "Very long"]];

export function startSettings(settings, theme, talk) {
    const dialog = byId("settings-dialog");
    byId("settings-button").addEventListener("click", () => {
        draw(dialog, settings, theme, talk);
        dialog.showModal();
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

function draw(dialog, settings, theme, talk) {
    const close = () => dialog.close();
    dialog.replaceChildren(
        h(
            "div.dialog-body",
            {},
            h("header.dialog-head", {}, h("h2", { id: "settings-title" }, "Settings"), h("button.icon-button", { type: "button", "aria-label": "Close settings", onclick: close }, icon("close"))),
            toggle("Answer only from the document", "If it says nothing about your question, you are told so.", settings.onlyFromDocument, (on) => settings.set({ onlyFromDocument: on })),
            toggle("Remember earlier questions", "So that you can ask “And why?”. Without it, each question stands alone.", settings.remember, (on) => settings.set({ remember: on })),
            choice("Length of answers", LENGTHS, settings.maxTokens, (value) => settings.set({ maxTokens: Number(value) })),
            choice("Colours", [["auto", "As the system"], ["light", "Light"], ["dark", "Dark"]], theme.now(), (value) => theme.set(value)),
            expert(settings),
            h(
                "div.dialog-actions",
                {},
                h("button.quiet", { type: "button", onclick: () => { settings.reset(); draw(dialog, settings, theme, talk); } }, "Back to the defaults"),
                h("button.quiet", {
                    type: "button",
                    disabled: !talk.turns.length,
                    onclick: () => {
                        talk.clear();
                        close();
                        notice("This conversation was deleted");
                    },
                }, "Delete this conversation"),
            ),
        ),
    );
}

function toggle(title, hint, on, changed) {
    const id = newId("switch");
    const input = h("input.switch", { id, type: "checkbox", role: "switch", "aria-describedby": `${id}-hint`, onchange: () => changed(input.checked) });
    input.checked = on;
    return h("div.setting", {}, h("div", {}, h("label.label", { for: id }, title), h("p.hint", { id: `${id}-hint` }, hint)), input);
}

function choice(title, options, value, changed) {
    const id = newId("choice");
    const select = h("select.field", { id, onchange: () => changed(select.value) }, options.map(([key, name]) => h("option", { value: key }, name)));
    select.value = String(value);
    return h("div.setting", {}, h("label.label", { for: id }, title), select);
}

function expert(settings) {
    const temperature = h("input", { id: "temperature", type: "range", min: 0, max: 1.5, step: 0.1, "aria-describedby": "temperature-hint" });
    temperature.value = String(settings.temperature);
    const shown = h("output.value", { for: "temperature" }, settings.temperature.toFixed(1));
    temperature.addEventListener("input", () => {
        shown.textContent = Number(temperature.value).toFixed(1);
        settings.set({ temperature: Number(temperature.value) });
    });
    const system = h("textarea.field", { id: "system", rows: 3, placeholder: "Answer in two sentences, in plain English.", onchange: () => settings.set({ system: system.value }) });
    system.value = settings.system;
    const list = h("datalist", { id: "policies" });
    const policy = h("input.field.code", { id: "policy", list: "policies", spellcheck: "false", autocomplete: "off", placeholder: "as the server was started", "aria-describedby": "policy-hint", onchange: () => settings.set({ policy: policy.value }) });
    policy.value = settings.policy;
    const hint = h("p.hint", { id: "policy-hint" }, "Which tokens go deeper, and how many, for example asl:select_k=1024. Empty: as the server was started.");
    fillPolicies(policy, list, hint);
    return h(
        "details.expert",
        {},
        h("summary", {}, icon("chevron"), "For experts"),
        h("div.setting", {}, h("div", {}, h("label.label", { for: "temperature" }, "Temperature"), h("p.hint", { id: "temperature-hint" }, "0 gives the same answer each time.")), h("div.slider", {}, temperature, shown)),
        h("div.setting.tall", {}, h("label.label", { for: "system" }, "System prompt"), system),
        h("div.setting.tall", {}, h("label.label", { for: "policy" }, "Policy"), policy, list, hint),
    );
}

async function fillPolicies(field, list, hint) {
    try {
        const { data } = await getJson("v1/models");
        const about = data[0]?.meta;
        if (!about?.policy) return;
        field.placeholder = about.policy;
        hint.textContent = `The server was started with ${about.policy} and a context of ${number(about.n_ctx)} tokens. Empty: that policy.`;
    } catch {
        // the field takes any text; the server tells what is wrong with it
    }
}
