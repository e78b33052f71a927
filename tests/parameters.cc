// Parameter files: what is read, what is written back, what every kind of
// mistake is answered with. The exact texts of values come back bit by bit; a
// message names file, line, entry, what was expected and what was meant.

#include <palpate/core/declared_parameters.h>
#include <palpate/core/errors.h>
#include <palpate/core/parameter_file.h>
#include <palpate/core/parameters.h>
#include <palpate/core/text.h>

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace Palpate;

namespace Palpate
{
  void
  declare_parameters(dealii::ParameterHandler &prm);
}

namespace
{
  namespace fs       = std::filesystem;
  namespace Patterns = dealii::Patterns;

  /// A folder for the files of one test, removed afterwards.
  struct ParameterFiles : public ::testing::Test
  {
    ParameterFiles()
      : folder(fs::temp_directory_path() /
               ("palpate_parameters_" + std::to_string(getpid())))
    {
      fs::create_directories(folder);
    }
    ~ParameterFiles() override
    {
      fs::remove_all(folder);
    }

    std::string
    write(const std::string &text, const std::string &name = "case.prm") const
    {
      const std::string file = (folder / name).string();
      std::ofstream(file, std::ios::binary) << text;
      return file;
    }

    const fs::path folder;
  };

  /// Entries of every kind of pattern.
  void
  declare_some(dealii::ParameterHandler &prm)
  {
    prm.declare_entry("Title", "", Patterns::Anything());
    prm.declare_entry("Count", "3", Patterns::Integer(1, 9));
    prm.declare_entry("Many", "3", Patterns::Integer(0));
    prm.enter_subsection("Model");
    prm.declare_entry("Type", "sms", Patterns::Selection("sms|neo-hookean"));
    prm.declare_entry("Terms",
                      "",
                      Patterns::MultipleSelection("gravity|charge"));
    prm.declare_entry("Poisson ratio", "0.4", Patterns::Double());
    prm.declare_entry("Share", "0.5", Patterns::Double(0, 1));
    prm.declare_entry("Smooth", "true", Patterns::Bool());
    prm.declare_entry("Corner",
                      "0, 0",
                      Patterns::List(Patterns::Double(), 2, 3));
    prm.enter_subsection("Mesh");
    prm.declare_entry("Size", "1", Patterns::Double(0));
    prm.leave_subsection();
    prm.leave_subsection();
    prm.enter_subsection("Solver");
    prm.declare_entry("Degree", "1", Patterns::Selection("1|2"));
    prm.leave_subsection();
  }

  using Declare = void (*)(dealii::ParameterHandler &);

  /// What parsing says; empty: nothing.
  std::string
  error_of(const std::string              &file,
           const std::vector<std::string> &overrides = {},
           const Declare                   declare   = &declare_some)
  {
    Parameters parameters;
    declare(parameters.handler);
    try
      {
        parameters.parse(file, overrides);
      }
    catch (const InputError &e)
      {
        EXPECT_EQ(e.exit_code, 2);
        return e.what();
      }
    return "";
  }

  std::string
  value_of(const Parameters &parameters, const std::string &path)
  {
    return DeclaredParameters(parameters.handler).entries().at(path).value;
  }

  bool
  has(const std::string &text, const std::string &part)
  {
    return text.find(part) != std::string::npos;
  }

  /// One line in our own words.
  void
  expect_message(const std::string              &message,
                 const std::vector<std::string> &parts,
                 const std::string              &input)
  {
    EXPECT_FALSE(message.empty()) << input;
    for (const auto &part : parts)
      EXPECT_TRUE(has(message, part))
        << "'" << message << "' lacks '" << part << "' for\n"
        << input;
    for (const char *foreign : {"\n",
                                "[Double",
                                "[Integer",
                                "[Selection",
                                "pattern",
                                "file <",
                                "Exc",
                                "MAX_"})
      EXPECT_FALSE(has(message, foreign)) << message;
  }
} // namespace

TEST_F(ParameterFiles, Grammar)
{
  const std::string text = "# a comment \\\n"
                           " of two lines\n"
                           "SET Title =  a = b {c} # and a comment\n"
                           "subsection Model\n"
                           "\tset\tType\t=\tneo-hookean   \n"
                           "  set Corner = 1, \\\n"
                           "      2\n"
                           "  SUBSECTION Mesh\n"
                           "set Size=0.25\n"
                           "  END\n"
                           "end\n"
                           "subsection Model\n" // once more
                           "  set Share = 1\n"
                           "end\n"
                           "subsection Solver\n"
                           "  include " +
                           write("set Degree = 2\n", "degree.prm") +
                           "\n"
                           "end\n"
                           "set Count = 7 \\";
  std::string crlf, cr;
  for (const char c : text)
    {
      crlf += (c == '\n' ? std::string("\r\n") : std::string(1, c));
      cr += (c == '\n' ? '\r' : c);
    }
  for (const std::string &variant :
       {text, crlf, cr, "\xEF\xBB\xBF" + text, "\xEF\xBB\xBF" + crlf})
    {
      Parameters parameters;
      declare_some(parameters.handler);
      parameters.parse(write(variant),
                       {"Model/Poisson ratio=0.3",
                        "Model/Poisson ratio = 0.2"});
      for (const auto &[path, value] :
           std::vector<std::pair<std::string, std::string>>{
             {"Title", "a = b {c}"},
             {"Count", "7"},
             {"Model/Type", "neo-hookean"},
             {"Model/Corner", "1, 2"},
             {"Model/Mesh/Size", "0.25"},
             {"Model/Share", "1"},
             {"Model/Poisson ratio", "0.2"},
             {"Solver/Degree", "2"}})
        EXPECT_EQ(value_of(parameters, path), value) << path;
    }
}

TEST_F(ParameterFiles, AnIncludingFileOverrides)
{
  const std::string base = write("set Count = 4\nset Many = 5\n", "base.prm");
  Parameters        parameters;
  declare_some(parameters.handler);
  parameters.parse(write("include " + base + "\nset Count = 6\n"), {});
  EXPECT_EQ(value_of(parameters, "Count"), "6");
  EXPECT_EQ(value_of(parameters, "Many"), "5");
}

TEST_F(ParameterFiles, ValuesComeBackAsTheyWere)
{
  for (const std::string value : {"a#b",
                                  "#",
                                  "dir\\",
                                  "\\",
                                  "\\\\",
                                  "a\\#b",
                                  "a\\ #",
                                  "two  blanks",
                                  "C:\\data\\case#3.npz",
                                  "x = y",
                                  "{1|2}",
                                  "set Title = 1",
                                  "end",
                                  "\xC3\xA4/\xE2\x82\xAC.npz",
                                  "/a b/c, d.npz",
                                  "#a\\#",
                                  "\"quoted\""})
    {
      Parameters parameters, again, third;
      for (Parameters *p : {&parameters, &again, &third})
        declare_some(p->handler);
      const std::string empty = write("set Count = 2\n");
      parameters.parse(empty, {"Title=" + value});
      EXPECT_EQ(value_of(parameters, "Title"), value);
      std::ostringstream out;
      write_parameters(out, parameters.handler);
      again.parse(write(out.str(), "again.prm"), {});
      EXPECT_EQ(value_of(again, "Title"), value) << out.str();
      EXPECT_TRUE(again.handler == parameters.handler);
      // What stands in a file is what --set takes.
      third.parse(write("set Title = " + written_value(value) + "\n"), {});
      EXPECT_EQ(value_of(third, "Title"), value);
    }
}

TEST_F(ParameterFiles, ValuesThatNoFileHoldsAreRefusedAtOnce)
{
  const std::string file = write("set Count = 2\n");
  for (const std::string value : {"a\nb", "a\rb", "a\tb", "a\x01", "\xFF.npz"})
    expect_message(error_of(file, {"Title=" + value}),
                   {"--set Title", "expected"},
                   value);
  expect_message(error_of(write("set Title = \xE4.npz\n")),
                 {"case.prm: line 1: ", "UTF-8"},
                 "Latin-1");
  // A comment may be anything.
  EXPECT_EQ(error_of(write("set Count = 2 # \xE4\n")), "");
}

TEST_F(ParameterFiles, WrongLines)
{
  struct Case
  {
    std::string              text;
    std::vector<std::string> parts;
  };
  const std::string model = "subsection Model\n";
  for (const Case &c : std::vector<Case>{
         // Names.
         {"\nset Cuont = 4\n", {"line 2: ", "Cuont", "mean Count?"}},
         {"set title = 4\n", {"line 1: ", "title", "mean Title?"}},
         {model + "set Typ = sms\nend\n",
          {"line 2: ", "Model/Typ,", "mean Model/Type?"}},
         {model + "set ratio Poisson = 0\nend\n",
          {"line 2: ", "mean Model/Poisson ratio?"}},
         {model + "set Degree = 2\nend\n",
          {"line 2: ", "Model/Degree", "mean Solver/Degree?"}},
         {"set Type = sms\n", {"line 1: ", "mean Model/Type?"}},
         {model + "set Count = 2\nend\n", {"line 2: ", "mean Count?"}},
         {"set Zzyzx = 2\n", {"line 1: ", "no such entry Zzyzx", "expected"}},
         {"set Model = 2\n", {"line 1: ", "it is a section"}},
         {"subsection Modle\nset Type = sms\nend\n",
          {"line 1: ", "Modle", "mean Model?"}},
         {"subsection Mesh\nend\n", {"line 1: ", "mean Model/Mesh?"}},
         {"subsection Title\nend\n", {"line 1: ", "it is an entry"}},
         {"subsection Zzyzx\nend\n", {"line 1: ", "no such section Zzyzx"}},
         // Values.
         {model + "set Type = smss\nend\n",
          {"line 2: ",
           "Model/Type = smss",
           "one of sms, neo-hookean",
           "mean sms?"}},
         {model + "set Type = Neo Hookean\nend\n", {"mean neo-hookean?"}},
         {model + "set Terms = gravity, chrage\nend\n",
          {"line 2: ", "one of gravity, charge", "mean charge?"}},
         {"set Count = 12\n", {"a whole number from 1 to 9"}},
         {"set Count = 1.5\n", {"Count = 1.5", "a whole number from 1 to 9"}},
         {"set Many = -1\n", {"a whole number of at least 0"}},
         {"set Many = 5000000000\n", {"at most 2147483647"}},
         {"set Many = 1e3\n", {"a whole number"}},
         {"set Many =\n", {"Many = :", "a whole number"}},
         {model + "set Poisson ratio = 0,4\nend\n", {"0,4", "a number"}},
         {model + "set Poisson ratio = {0.1|0.2}\nend\n", {"a number"}},
         {model + "set Share = 1.5\nend\n", {"a number from 0 to 1"}},
         {model + "set Smooth = maybe\nend\n", {"true or false"}},
         {model + "set Corner = 1\nend\n", {"2 to 3 parts", "a number"}},
         {model + "set Corner = 1, x\nend\n", {"2 to 3 parts", "a number"}},
         // Lines.
         {"Count = 2\n", {"line 1: ", "mean set Count = 2?"}},
         {"sett Count = 2\n", {"line 1: ", "'set NAME = VALUE'"}},
         {"Set Count = 2\n", {"line 1: ", "mean set"}},
         {"set Count 2\n", {"line 1: ", "'set Count 2' has no '='"}},
         {"set = 2\n", {"line 1: ", "names no entry"}},
         {"set\n", {"line 1: ", "'set NAME = VALUE'"}},
         {"subsection\n", {"line 1: ", "'subsection NAME'"}},
         {"include\n", {"line 1: ", "'include FILE'"}},
         {"subsecton Model\nend\n", {"line 1: ", "mean subsection?"}},
         {"set\xC2\xA0"
          "Count = 2\n",
          {"line 1: ", "no-break space"}},
         {model + "end Model\n", {"line 2: ", "'end' alone"}},
         {model + "endd\n", {"line 2: ", "mean end?"}},
         {model + "end\nend\n", {"line 3: ", "closes no subsection"}},
         {"set Count = 2\nset Count = 3\n", {"line 2: ", "line 1 already"}},
         {"include nowhere.prm\n", {"line 1: ", "'nowhere.prm'"}},
         {std::string("set Count\0 = 2\n", 15), {"line 1: ", "byte 0"}},
         // Continued lines.
         {"set Title = C:\\dir\\\nset Count = 2\n", {"line 2: ", "line 1"}},
         {"# to C:\\\nset Count = 2\n", {"line 2: ", "line 1"}},
         {model + "# old \\\nend\n", {"line 3: ", "line 2"}},
         {model + "set Corner = 1, # x \\\n 2\nend\n",
          {"line 3: ", "line 2", "dropped"}},
         // Missing ends.
         {model, {"line 1: ", "subsection Model has no 'end'"}},
         {model + "  set Share = 1\nsubsection Solver\n  set Degree = 2\nend\n",
          {"line 3: ", "'end' of subsection Model (line 1)"}},
         {model + "  subsection Mesh\n    set Size = 2\nend\nset Count = 2\n",
          {"line 2: ", "subsection Mesh has no 'end'"}},
         {model + "  subsection Mesh\n    set Size = 2\nend\n"
                  "subsection Solver\nend\n",
          {"line 5: ", "'end' of subsection Mesh (line 2)"}},
         {model + "subsection Mesh\nset Size = 2\nend\n",
          {"line 1: ", "subsection Model has no 'end'"}},
       })
    {
      const std::string file = write(c.text);
      const std::string text = error_of(file);
      expect_message(text, c.parts, c.text);
      EXPECT_EQ(text.find(file + ": line "), 0u) << text;
    }
}

TEST_F(ParameterFiles, WrongFiles)
{
  const auto expect = [&](const std::string              &file,
                          const std::vector<std::string> &parts) {
    expect_message(error_of(file), parts, file);
  };
  expect((folder / "nowhere.prm").string(), {"nowhere.prm: cannot be read"});
  expect(folder.string(), {"cannot be read"});
  expect(write(""), {"case.prm: is empty"});
  expect(write("\xEF\xBB\xBF"), {"case.prm: is empty"});
  expect(write(std::string("\xFF\xFEs\0e\0t\0", 8)), {"UTF-16"});
  expect(write(std::string("\xFE\xFF\0s\0e\0t", 8)), {"UTF-16"});
  expect(write("include " + (folder / "case.prm").string() + "\n"),
         {"includes itself"});
  expect("/dev/zero", {"larger than 10 MB"});
  // The error is in the file that holds the line.
  const std::string inner = write("\n\nset Cuont = 1\n", "inner.prm");
  expect(write("include " + inner + "\n"), {inner + ": line 3: ", "Count?"});
  expect(write("subsection Model\n  include " + write("end\n", "e.prm") +
               "\nend\n"),
         {"e.prm: line 1: ", "closes no subsection"});
  // Beside the including file, not beside the working folder.
  write("set Count = 1\n", "beside.prm");
  expect(write("include beside.prm\n"),
         {"case.prm: line 1: ", "mean " + (folder / "beside.prm").string()});
}

TEST_F(ParameterFiles, WrongOverrides)
{
  const std::string file = write("set Count = 2\n");
  struct Case
  {
    std::string              given;
    std::vector<std::string> parts;
  };
  for (const Case &c : std::vector<Case>{
         {"Model/Typ=sms", {"no such entry", "mean Model/Type?"}},
         {"Modle/Type=sms", {"no such section Modle", "mean Model?"}},
         {"Model/Mehs/Size=1", {"no such section", "mean Model/Mesh?"}},
         {"Degree=2", {"no such entry", "mean Solver/Degree?"}},
         {"Model/Degree=2", {"no such entry", "mean Solver/Degree?"}},
         {"Model/Type=smss", {"one of sms, neo-hookean", "mean sms?"}},
         {"Model/Share=2", {"a number from 0 to 1"}},
         {"Model=2", {"it is a section"}},
         {"Count", {"Section/Sub/Name=value"}},
         {"=3", {"names no entry"}},
         {"Model/=3", {"names no entry"}},
       })
    expect_message(
      error_of(file, {c.given}),
      [&]() {
        auto parts = c.parts;
        parts.push_back("--set " + c.given + ": ");
        return parts;
      }(),
      c.given);
  expect_message(error_of(file, {"Cuont=3", "Title=x", "Model/Share=2"}),
                 {"--set Cuont=3: ", "; --set Model/Share=2: "},
                 "two of them");
}

TEST_F(ParameterFiles, AllWrongEntriesAtOnce)
{
  const std::string message =
    error_of(write("set Cuont = 2\nset Many = x\nsubsection Modle\n"
                   "  set Anything = 1\nend\nsubsection Model\n"
                   "  set Type = smss\nend\n"));
  expect_message(message,
                 {"line 1: ", "; line 2: ", "; line 3: ", "; line 7: "},
                 message);
  EXPECT_FALSE(has(message, "line 4")) << message;
  std::string many;
  for (unsigned int i = 0; i < 1000; ++i)
    many += "set Zzyzx" + std::to_string(i) + " = 1\n";
  const std::string bounded = error_of(write(many));
  expect_message(bounded, {"line 1: ", "992 more"}, "1000 entries");
  EXPECT_LT(bounded.size(), 2000u);
}

TEST_F(ParameterFiles, EntriesWithoutEffectAtOnce)
{
  Parameters parameters;
  declare_some(parameters.handler);
  const std::string inner = write("set Many = 4\n", "inner.prm");
  parameters.parse(write("set Count = 2\ninclude " + inner +
                         "\nset Title = x\nsubsection Model\n"
                         "  set Share = 0.25\n  set Type = sms\nend\n"),
                   {"Solver/Degree=2"});
  parameters.get("Title");
  try
    {
      parameters.refuse_unused("forward");
      FAIL();
    }
  catch (const InputError &e)
    {
      expect_message(e.what(),
                     {"case.prm: line 1: Count, line 5: Model/Share, ",
                      inner + ": line 1: Many and --set Solver/Degree are set "
                              "but have no effect"},
                     "");
      EXPECT_FALSE(has(e.what(), "Title") || has(e.what(), "Type")) << e.what();
    }
}

TEST_F(ParameterFiles, ADefaultIsNeverRefused)
{
  // Every entry of the program, at its default and written otherwise.
  Parameters all;
  declare_parameters(all.handler);
  std::ostringstream text;
  write_parameters(text, all.handler);
  const std::string        file = write(text.str());
  std::vector<std::string> otherwise;
  unsigned int             numbers = 0;
  const DeclaredParameters declared(all.handler);
  for (const auto &[path, entry] : declared.entries())
    {
      std::string value = entry.default_value;
      if (value.empty())
        continue;
      const bool list = has(entry.pattern, "[List");
      char      *end  = nullptr;
      std::strtod(value.c_str(), &end);
      if (*end == 0 && !has(entry.pattern, "Integer") &&
          !has(entry.pattern, "Selection"))
        {
          value = has(value, "e")   ? "0.01e2, " + value
                  : has(value, ".") ? value + "0"
                                    : value + ".0e0";
          if (has(value, ", "))
            value = "0" + value.substr(8);
          ++numbers;
        }
      if (list)
        for (auto at = value.find(", "); at != std::string::npos;
             at      = value.find(", ", at))
          value.erase(at + 1, 1);
      otherwise.push_back(path + "= " + value + " ");
    }
  EXPECT_GT(numbers, 50u);
  EXPECT_GT(otherwise.size(), 150u);
  for (const auto &overrides : {std::vector<std::string>(), otherwise})
    {
      Parameters parameters;
      declare_parameters(parameters.handler);
      ASSERT_NO_THROW(parameters.parse(file, overrides));
      EXPECT_NO_THROW(parameters.refuse_unused("forward"));
      const Parameters::Section model(parameters, "Model");
      EXPECT_TRUE(parameters.is_set("Poisson ratio"));
      EXPECT_FALSE(parameters.is_changed("Poisson ratio"));
    }
  for (const char *same : {"1", "1.0", "1e0", "+1", "100e-2"})
    EXPECT_TRUE(same_meaning(same, "1")) << same;
  for (const char *other : {"1.0000001", "1 m", "", "one", "1, 1", "1; 1"})
    EXPECT_FALSE(same_meaning(other, "1")) << other;
  EXPECT_TRUE(same_meaning("0,0 ,  0.0", "0, 0, 0"));
  EXPECT_FALSE(same_meaning("0, 0; 0", "0, 0, 0"));
}

TEST_F(ParameterFiles, EveryTypoFindsItsEntry)
{
  const std::string file = write("# nothing\nset Task = forward\n");
  Parameters        all;
  declare_parameters(all.handler);
  const DeclaredParameters declared(all.handler);
  const auto               typos_of = [](const std::string &word) {
    std::vector<std::string> typos;
    const std::size_t        middle = word.size() / 2;
    std::string              lost = word, doubled = word, swapped = word;
    lost.erase(middle, 1);
    doubled.insert(middle, 1, word[middle]);
    std::swap(swapped[middle - 1], swapped[middle]);
    for (const auto &t : {lost, doubled, swapped})
      if (t != word)
        typos.push_back(t);
    return typos;
  };
  unsigned int n = 0, missed = 0;
  for (const auto &[path, entry] : declared.entries())
    if (entry.name.size() > 3)
      for (const auto &typo : typos_of(entry.name))
        {
          const std::string wrong = parameter_path(entry.sections, typo);
          if (declared.entries().count(wrong) > 0)
            continue;
          ++n;
          const std::string message = declared.wrong_name(entry.sections, typo);
          // A neighbour may be as near as the entry itself.
          missed += !has(message, "mean " + path + "?");
          EXPECT_TRUE(has(message, "did you mean ")) << message;
        }
  EXPECT_GT(n, 500u);
  EXPECT_LT(missed, n / 100);
  for (const auto &[path, entry] : declared.entries())
    if (entry.pattern.compare(0, 11, "[Selection ") == 0 &&
        entry.default_value.size() > 3)
      for (const auto &typo : typos_of(entry.default_value))
        expect_message(error_of(file, {path + "=" + typo}, &declare_parameters),
                       {"did you mean " + entry.default_value + "?"},
                       path + "=" + typo);
}

TEST(Text, Utf8)
{
  for (const char *good : {"",
                           "abc",
                           "\xC3\xA4",
                           "\xE2\x82\xAC",
                           "\xF0\x9F\x98\x80",
                           "\xED\x9F\xBF"})
    EXPECT_TRUE(Text::is_utf8(good)) << good;
  for (const char *bad : {"\xE4",
                          "\xC0\x80",
                          "\xC3",
                          "\xE0\x80\x80",
                          "\xED\xA0\x80",
                          "\xF4\x90\x80\x80",
                          "\x80",
                          "\xFF"})
    EXPECT_FALSE(Text::is_utf8(bad));
}

TEST(Text, EditDistance)
{
  EXPECT_EQ(Text::edit_distance("", "abc"), 3u);
  EXPECT_EQ(Text::edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(Text::edit_distance("identfiy", "identify"), 1u); // swapped
  EXPECT_EQ(Text::edit_distance("same", "same"), 0u);
}
