#include "apps/report/html.h"

#include "apps/image/file_bytes.h"
#include "apps/image/png.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace tw {
namespace {

constexpr const char* style = R"(
:root{color-scheme:light dark;--paper:#fbfbf9;--card:#fff;--ink:#22262d;--soft:#646c78;--rule:#e3e4e1;--accent:#0a6c74}
@media(prefers-color-scheme:dark){:root{--paper:#15181c;--card:#1d2126;--ink:#e6e8eb;--soft:#9aa3af;--rule:#30363d;--accent:#5cc4cc}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.6 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
main{max-width:1040px;margin:0 auto;padding:56px 24px 80px}
h1{font-size:clamp(26px,5vw,38px);line-height:1.2;letter-spacing:-.015em;margin:0 0 8px}
.subtitle{color:var(--soft);margin:0;max-width:68ch}
section{margin-top:52px}
h2{font-size:21px;line-height:1.3;letter-spacing:-.005em;margin:0 0 6px}
p{margin:0 0 16px;max-width:68ch;overflow-wrap:break-word}
.figures{display:flex;flex-wrap:wrap;gap:24px;align-items:flex-start;margin:18px 0}
figure{margin:0;flex:0 1 auto;min-width:0;max-width:100%}
figure img{display:block;width:100%;height:auto;border:1px solid var(--rule);border-radius:8px;background:#fff}
img.pixelated{image-rendering:pixelated}
figcaption{color:var(--soft);font-size:14px;line-height:1.5;margin-top:8px;max-width:60ch}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:28px 0 0;padding:0}
.tiles div{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:14px 16px}
.tiles dt{color:var(--soft);font-size:14px}
.tiles dd{margin:2px 0 0;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere;line-height:1.3}
table{border-collapse:collapse;width:100%;max-width:760px;margin:18px 0;font-size:15px}
caption{text-align:left;color:var(--soft);font-size:14px;padding-bottom:6px}
th,td{text-align:left;vertical-align:top;padding:8px 0;border-bottom:1px solid var(--rule)}
th{font-weight:400;color:var(--soft);width:38%;padding-right:20px}
td{font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
pre{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:14px 16px;margin:16px 0;font:14px/1.5 ui-monospace,"DejaVu Sans Mono",monospace;white-space:pre-wrap;overflow-wrap:anywhere}
@media(max-width:560px){main{padding:32px 16px 56px}section{margin-top:40px}.tiles{grid-template-columns:1fr 1fr}.tiles dd{font-size:19px}}
@media print{body{background:#fff}section{break-inside:avoid}}
)";

std::string escaped(const std::string& text) {
  std::string result;
  for (char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (c == '>')
      result += "&gt;";
    else if (c == '"')
      result += "&quot;";
    else
      result += c;
  }
  return result;
}

std::string base64(const std::string& bytes) {
  constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  result.reserve(bytes.size() / 3 * 4 + 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) result += i + k > bytes.size() ? '=' : digits[group >> (18 - 6 * k) & 63];
  }
  return result;
}

const char* media_type(const std::string& bytes) {
  if (bytes.starts_with("\x89PNG")) return "image/png";
  if (bytes.starts_with("GIF8")) return "image/gif";
  if (bytes.starts_with("\xff\xd8")) return "image/jpeg";
  fail("report", "a figure is neither PNG, GIF nor JPEG");
}

}  // namespace

HtmlReport::Figure HtmlReport::figure(const Image& image, std::string caption, bool pixelated,
                                      int64_t width) {
  return {encode_png(image), std::move(caption), pixelated, width};
}

HtmlReport::Figure HtmlReport::figure_of_file(const std::string& path, std::string caption, bool pixelated,
                                              int64_t width) {
  return {file_bytes(path), std::move(caption), pixelated, width};
}

HtmlReport::HtmlReport(std::string title, std::string subtitle)
    : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

void HtmlReport::section(const std::string& heading, const std::string& text) {
  if (section_open_) body_ += "</section>\n";
  section_open_ = true;
  body_ += "<section>\n<h2>" + escaped(heading) + "</h2>\n";
  if (!text.empty()) paragraph(text);
}

void HtmlReport::paragraph(const std::string& text) { body_ += "<p>" + escaped(text) + "</p>\n"; }

void HtmlReport::figures(const std::vector<Figure>& figures) {
  body_ += "<div class=\"figures\">\n";
  for (const Figure& figure : figures) {
    body_ +=
        "<figure style=\"width:" + (figure.width > 0 ? std::to_string(figure.width) + "px" : "100%") + "\">";
    body_ += std::string("<img") + (figure.pixelated ? " class=\"pixelated\"" : "") + " alt=\"" +
             escaped(figure.caption) + "\" src=\"data:" + media_type(figure.bytes) + ";base64," +
             base64(figure.bytes) + "\">";
    if (!figure.caption.empty()) body_ += "<figcaption>" + escaped(figure.caption) + "</figcaption>";
    body_ += "</figure>\n";
  }
  body_ += "</div>\n";
}

void HtmlReport::table(const Rows& rows, const std::string& caption) {
  body_ += "<table>\n";
  if (!caption.empty()) body_ += "<caption>" + escaped(caption) + "</caption>\n";
  for (const auto& [label, value] : rows)
    body_ += "<tr><th scope=\"row\">" + escaped(label) + "</th><td>" + escaped(value) + "</td></tr>\n";
  body_ += "</table>\n";
}

void HtmlReport::tiles(const Rows& facts) {
  body_ += "<dl class=\"tiles\">\n";
  for (const auto& [label, value] : facts)
    body_ += "<div><dt>" + escaped(label) + "</dt><dd>" + escaped(value) + "</dd></div>\n";
  body_ += "</dl>\n";
}

void HtmlReport::command(const std::string& line) { body_ += "<pre>" + escaped(line) + "</pre>\n"; }

std::string HtmlReport::html() const {
  std::string page =
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n";  // else a browser asks for favicon.ico
  page += "<title>" + escaped(title_) + "</title>\n<style>" + style + "</style>\n</head>\n<body>\n<main>\n";
  page += "<header><h1>" + escaped(title_) + "</h1>\n";
  if (!subtitle_.empty()) page += "<p class=\"subtitle\">" + escaped(subtitle_) + "</p>\n";
  page += "</header>\n" + body_ + (section_open_ ? "</section>\n" : "") + "</main>\n</body>\n</html>\n";
  return page;
}

void HtmlReport::write(const std::string& path) const { write_file_atomically(path, html()); }

}  // namespace tw
