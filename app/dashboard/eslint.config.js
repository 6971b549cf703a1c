// Lint rules: the recommended sets, plus the house's direction of imports (house.md 3.6).
import pluginVue from "eslint-plugin-vue";
import tseslint from "typescript-eslint";

/** A rule block that forbids the files of one room to import from the named rooms. */
function room(files, forbidden) {
  return {
    files: [files],
    rules: {
      "no-restricted-imports": [
        "error",
        { patterns: forbidden.map((name) => ({ group: [`**/${name}/*`], message: `not from here: ${name}` })) },
      ],
    },
  };
}

export default tseslint.config(
  { ignores: ["dist/", "node_modules/"] },
  ...tseslint.configs.strict,
  ...pluginVue.configs["flat/recommended"],
  {
    files: ["**/*.vue"],
    languageOptions: { parserOptions: { parser: tseslint.parser } },
  },
  {
    rules: {
      "max-lines": ["error", 500],
      "no-console": "error",
      eqeqeq: "error",
      "vue/multi-word-component-names": "off",
      "vue/max-attributes-per-line": "off",
      "vue/singleline-html-element-content-newline": "off",
      "vue/html-self-closing": "off",
      "vue/html-indent": "off",
      "vue/multiline-html-element-content-newline": "off",
      "vue/html-closing-bracket-newline": "off",
      "vue/attributes-order": "off",
      "vue/no-v-html": "error",
      "vue/require-default-prop": "off",
    },
  },
  { files: ["tests/e2e/**", "tests/*.mjs"], rules: { "no-console": "off" } },
  room("src/format/**", ["api", "live", "stores", "composables", "components", "views"]),
  room("src/components/**", ["live", "stores", "composables", "views"]),
  room("src/composables/**", ["api", "live", "components", "views"]),
  room("src/stores/**", ["components", "views", "composables"]),
  room("src/api/**", ["live", "stores", "components", "views"]),
  room("src/live/**", ["stores", "components", "views"]),
  room("src/views/**", ["live"]),
);
