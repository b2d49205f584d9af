// Dark or light, before anything is painted; a classic script for that reason.

(() => {
    const root = document.documentElement;
    let chosen = null;
    try {
        chosen = localStorage.getItem("asl:theme");
    } catch {
        // as the system
    }
    const theme = {
        now: () => chosen ?? "auto",
        isDark: () => chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches),
        set(value) {
            chosen = value === "auto" ? null : value;
            try {
                if (chosen) localStorage.setItem("asl:theme", chosen);
                else localStorage.removeItem("asl:theme");
            } catch {
                // until the page is closed
            }
            apply();
            dispatchEvent(new Event("theme"));
        },
    };
    const apply = () => {
        if (chosen) root.dataset.theme = chosen;
        else delete root.dataset.theme;
    };
    apply();
    window.aslTheme = theme;
})();
