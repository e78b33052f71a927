// What users bring along: tables of numbers, packs of one timestamp each, packs
// with more than numbers.

#include <palpate/core/errors.h>
#include <palpate/core/npz.h>
#include <palpate/core/number_table.h>
#include <palpate/mesh/quality.h>
#include <palpate/mesh/read_case.h>
#include <palpate/mesh/simplex.h>
#include <palpate/mesh/timestamps.h>

#include <gtest/gtest.h>
#include <unistd.h>
#include <zip.h>

#include <filesystem>
#include <fstream>

using namespace Palpate;

namespace
{
  namespace fs = std::filesystem;

  /// A folder for the files of one test, removed afterwards.
  class Folder
  {
  public:
    Folder()
    {
      static int n = 0;
      path         = fs::temp_directory_path() /
             ("palpate_inputs_" + std::to_string(getpid()) + "_" +
              std::to_string(n++));
      fs::create_directories(path);
    }
    ~Folder()
    {
      fs::remove_all(path);
    }
    std::string
    operator/(const std::string &name) const
    {
      return (path / name).string();
    }

  private:
    fs::path path;
  };

  /// The one line of the InputError that @p work must throw, which must have
  /// all parts.
  template <typename Work>
  void
  expect_error(const Work &work, const std::vector<std::string> &parts)
  {
    try
      {
        work();
        ADD_FAILURE() << "no InputError";
      }
    catch (const InputError &e)
      {
        const std::string message = e.what();
        EXPECT_EQ(message.find('\n'), std::string::npos) << message;
        EXPECT_NE(message.find("expected"), std::string::npos) << message;
        for (const auto &part : parts)
          EXPECT_NE(message.find(part), std::string::npos)
            << "\"" << part << "\" not in \"" << message << "\"";
      }
  }

  using Rows = std::vector<std::vector<double>>;

  Rows
  table_of(const std::string &text)
  {
    Folder folder;
    std::ofstream(folder / "t.csv", std::ios::binary) << text;
    return read_number_table(folder / "t.csv", {3, 6});
  }

  void
  expect_refused(const std::string &text, const std::vector<std::string> &parts)
  {
    SCOPED_TRACE(text);
    expect_error([&]() { table_of(text); }, parts);
  }
} // namespace

TEST(NumberTable, ReadsWhatProgramsWrite)
{
  const Rows rows = {{1, 2.5, -3}, {4e2, 5, 6}};
  for (const char *text :
       {"1,2.5,-3\n4e2,5,6\n",
        "1, 2.5, -3\n4e2, 5, 6",
        "1,2.5,-3,\n4e2,5,6,\n",
        "  1 2.5\t-3 \n\n4e2 5 6\n\n",
        "1;2.5;-3\n4e2;5;6\n",
        "1;2,5;-3\n4e2;5;6\n",
        "1\t2,5\t-3\n4e2\t5\t6\n",
        "1,\t2.5,\t-3\n4e2,\t5,\t6\n",
        "1 2.5; -3\n4e2; 5 6\n",
        "1 2.5, -3\n4e2, 5 6\n",
        "\"1\",\"2,5\",\"-3\"\n\"4e2\",\"5\",\"6\"\n",
        "\"1\",\"2.5\",-3\n4e2,5,\"6\"\n",
        "1,2.5,-3\r\n4e2,5,6\r\n",
        "1,2.5,-3\r4e2,5,6\r",
        "1,2.5,-3\r\r4e2,5,6",
        "\xEF\xBB\xBF"
        "1,2.5,-3\n4e2,5,6\n",
        "x,y,z\n1,2.5,-3\n4e2,5,6\n",
        "# points\nx (mm), y (mm), z (mm)\n1,2.5,-3\n# more\n"
        "4e2,5,6\n",
        "\xEF\xBB\xBF\"x1\";\"y1\";\"z1\"\r\n1;2,5;-3\r\n"
        "4e2;5;6\r\n"})
    {
      SCOPED_TRACE(text);
      EXPECT_EQ(table_of(text), rows);
    }
  EXPECT_EQ(table_of("50,5;50,5;50,5;50,5;50,5;53,5\n10;20;30;10;20;33\n"),
            (Rows{{50.5, 50.5, 50.5, 50.5, 50.5, 53.5},
                  {10, 20, 30, 10, 20, 33}}));
}

// No line is left out because it does not look like numbers.
TEST(NumberTable, RefusesWhatHasTwoMeaningsOrNone)
{
  for (const char *first : {"50.5mm,50,50",
                            "1.5D+02 2 3",
                            "(1,2,3)",
                            "l.5,2.5,3.5",
                            "+,-,+1",
                            "nan,inf,nan",
                            "1,2,",
                            "1,,3",
                            "1;;3",
                            "1,2",
                            "1,;2;3",
                            "1.5,2,5 3"})
    expect_refused(std::string(first) + "\n1,2,3\n", {"line 1", "t.csv"});
  expect_refused("50,5 50,5 50,5\n", {"line 1", "decimal commas?"});
  expect_refused("50,5, 50,5, 50,5\n", {"line 1", "decimal commas?"});
  expect_refused("1,5\t2,5,\t3,5\n", {"line 1"});
  expect_refused("1,5;2.5;3\n", {"line 1", "decimal"});
  expect_refused("1.5;2.5;3\n1;2,5;3\n", {"line 2", "decimal"});
  expect_refused("1.000,5;2;3\n", {"line 1"});
  expect_refused("1,2,3\nx,y,z\n", {"line 2", "three"});
  expect_refused("1,2,3\n1,2,3,4,5,6\n", {"line 2", "three"});
  // Two lines of three in one of six by a line end that is none.
  expect_refused("1,2,3\v4,5,6\n", {"line 1"});
  expect_refused("x,y,z\n", {"no points"});
  expect_refused(std::string("\xFF\xFE"
                             "1\0,\0",
                             6),
                 {"UTF-16"});
}



namespace
{
  // Two tetrahedra with the common face (1, 2, 3); the second is negatively
  // oriented in the second pack.
  const std::vector<double> points =
    {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1};
  const std::vector<std::int64_t> tets = {0, 1, 2, 3, 1, 2, 3, 4};

  NpzArrays
  pack(const double size)
  {
    std::vector<double> u;
    for (unsigned int i = 0; i < 15; ++i)
      u.push_back(size * (i + 1));
    return {{"mesh_points", NpyArray({5, 3}, points)},
            {"tetrahedra", NpyArray::integers({2, 4}, tets)},
            {"displacement_field", NpyArray({5, 3}, u)}};
  }

  /// r_axis, r_shear and r_vol of axes that are turned about z.
  void
  add_rows(NpzArrays &arrays, const double angle)
  {
    SerialMesh<3> mesh;
    for (unsigned int v = 0; v < 5; ++v)
      mesh.vertices.emplace_back(points[3 * v],
                                 points[3 * v + 1],
                                 points[3 * v + 2]);
    for (unsigned int k = 0; k < 2; ++k)
      mesh.cells.push_back({{static_cast<unsigned int>(tets[4 * k]),
                             static_cast<unsigned int>(tets[4 * k + 1]),
                             static_cast<unsigned int>(tets[4 * k + 2]),
                             static_cast<unsigned int>(tets[4 * k + 3])}});
    const double        c = std::cos(angle), s = std::sin(angle);
    const double        e[3][3] = {{c, s, 0}, {-s, c, 0}, {0, 0, 1}};
    std::vector<double> axial, shear, vol, axes;
    for (unsigned int k = 0; k < 2; ++k)
      {
        const Simplex<3> simplex(mesh, k);
        const auto       at = [&](const unsigned int a, const unsigned int l) {
          double sum = 0;
          for (unsigned int d = 0; d < 3; ++d)
            sum += simplex.gradients[a][d] * e[l][d];
          return sum;
        };
        for (unsigned int l = 0; l < 3; ++l)
          for (unsigned int a = 0; a < 4; ++a)
            for (unsigned int d = 0; d < 3; ++d)
              axial.push_back(at(a, l) * e[l][d]);
        for (unsigned int l = 0; l < 3; ++l)
          for (unsigned int m = l + 1; m < 3; ++m)
            for (unsigned int a = 0; a < 4; ++a)
              for (unsigned int d = 0; d < 3; ++d)
                shear.push_back((at(a, l) * e[m][d] + at(a, m) * e[l][d]) / 2);
        for (unsigned int a = 0; a < 4; ++a)
          for (unsigned int d = 0; d < 3; ++d)
            vol.push_back(simplex.gradients[a][d]);
        for (unsigned int d = 0; d < 3; ++d)
          for (unsigned int l = 0; l < 3; ++l)
            axes.push_back(e[l][d]);
      }
    arrays["r_axis"]          = NpyArray({2, 3, 12}, axial);
    arrays["r_shear"]         = NpyArray({2, 3, 12}, shear);
    arrays["r_vol"]           = NpyArray({2, 12}, vol);
    arrays["anisotropy_axes"] = NpyArray({2, 3, 3}, axes);
  }

  std::string
  notes_of(const CaseData<3> &data)
  {
    std::string all;
    for (const auto &note : data.notes)
      all += note + "; ";
    return all;
  }
} // namespace

TEST(Timestamps, OneFileEach)
{
  Folder folder;
  for (const int t : {2, 10, 1})
    {
      auto one = pack(0.01 * t);
      add_rows(one, 0.1 * t);
      one["hu_tetra_mean"] = NpyArray({2, 1}, {-800. + t, -700.});
      one["mass"]          = NpyArray({5}, {1, 2, 3, 4, 5});
      one["patient"]       = NpyArray({1}, {double(t)}); // unknown
      write_npz(folder / ("t_" + std::to_string(t) + ".npz"), one);
    }
  const std::string pattern = folder / "t_*.npz",
                    list    = folder / "t_1.npz" + std::string(", ") +
                           (folder / "t_2.npz") + "," + (folder / "t_10.npz");
  EXPECT_EQ(mesh_dimension(pattern), 3);
  for (const auto &name : {pattern, list})
    {
      SCOPED_TRACE(name);
      const auto  data = read_case<3>(name, 1e-3);
      const auto &u    = data.arrays.at("displacement_steps");
      ASSERT_EQ(u.shape, (std::vector<std::size_t>{3, 5, 3}));
      EXPECT_EQ(data.arrays.count("displacement_field"), 0u);
      for (unsigned int s = 0; s < 3; ++s)
        EXPECT_NEAR(u.values[15 * s], 1e-5 * (s == 2 ? 10 : s + 1), 1e-18);
      EXPECT_EQ(data.arrays.at("r_axis").shape,
                (std::vector<std::size_t>{3, 2, 3, 12}));
      EXPECT_EQ(data.arrays.at("r_vol").shape,
                (std::vector<std::size_t>{3, 2, 12}));
      EXPECT_EQ(data.arrays.at("anisotropy_axes").shape,
                (std::vector<std::size_t>{3, 2, 3, 3}));
      EXPECT_EQ(data.arrays.at("hu_tetra_steps").values,
                (std::vector<double>{-799, -700, -798, -700, -790, -700}));
      EXPECT_NEAR(data.arrays.at("hu_tetra_mean").values[0],
                  -800 + 13. / 3,
                  1e-12);
      EXPECT_EQ(data.arrays.at("mass").size(), 5u);
      EXPECT_NE(notes_of(data).find("'patient'"), std::string::npos);
      EXPECT_NE(notes_of(data).find("t_1.npz, "), std::string::npos);
    }
  // A file may have a comma in its name.
  write_npz(folder / "a,b.npz", pack(1));
  EXPECT_EQ(
    read_case<3>(folder / "a,b.npz", 1).arrays.count("displacement_field"), 1u);
}

TEST(Timestamps, ContradictionsAreRefused)
{
  Folder            folder;
  const std::string a = folder / "a.npz", b = folder / "b.npz",
                    both = a + ", " + b;
  write_npz(a, pack(1));
  const auto refused = [&](NpzArrays                       second,
                           const std::vector<std::string> &parts) {
    write_npz(b, second);
    expect_error([&]() { read_case<3>(both, 1); }, parts);
  };
  auto other                     = pack(2);
  other["mesh_points"].values[4] = 1e-3;
  refused(other, {b, "'mesh_points'", "[1, 1]", "as in " + a});
  other = pack(2);
  std::swap(other["tetrahedra"].values[0], other["tetrahedra"].values[1]);
  refused(other, {b, "'tetrahedra'", "[0, 0]"});
  other            = pack(2);
  other["alpha_k"] = NpyArray({2}, {1, 2});
  refused(other, {a, "'alpha_k'", "missing", b});
  other = pack(2);
  other.erase("displacement_field");
  refused(other, {b, "'displacement_field'", "missing"});
  other                             = pack(2);
  other["displacement_field"].shape = {3, 5};
  refused(other, {b, "'displacement_field'", "(3, 5)"});
  other                       = pack(2);
  other["displacement_steps"] = NpyArray({1, 5, 3}, points);
  refused(other, {b, "'displacement_steps'", "one"});
  write_npz(b, pack(2));
  expect_error([&]() { read_case<3>(a + "," + a, 1); }, {"twice"});
  expect_error([&]() { read_case<3>(folder / "c*.npz", 1); },
               {"c*.npz", "matches no file"});
  expect_error([&]() { read_case<3>(a + ", " + (folder / "no.npz"), 1); },
               {"no.npz", "no such file"});
  expect_error([&]() { read_case<3>(a + ", " + (folder / "b.msh"), 1); },
               {"b.msh", "case packs"});
}

// Rows of every timestamp are compared with the mesh, and turn with its cells.
TEST(Timestamps, StrainRowsOfSeveralSteps)
{
  Folder    folder;
  NpzArrays first = pack(1), second = pack(2);
  add_rows(first, 0.3);
  add_rows(second, -0.2);
  NpzArrays joined = Readers::join_timestamps({"a", "b"}, {first, second});
  write_npz(folder / "c.npz", joined);
  auto data = read_case<3>(folder / "c.npz", 1);
  EXPECT_EQ(data.arrays.at("r_shear").shape,
            (std::vector<std::size_t>{2, 2, 3, 12}));
  // In other units, and of cells that are the other way around.
  read_case<3>(folder / "c.npz", 1);
  for (const std::string key : {"r_axis", "r_shear", "r_vol"})
    {
      NpzArrays wrong = joined;
      wrong[key].values.back() += 0.1; // of the last cell in step 1
      write_npz(folder / "d.npz", wrong);
      expect_error([&]() { read_case<3>(folder / "d.npz", 1); },
                   {"'" + key + "'", "cell 1 in step 1"});
      wrong               = joined;
      wrong[key].shape[0] = 1;
      wrong[key].values.resize(wrong[key].size() / 2);
      write_npz(folder / "d.npz", wrong);
      expect_error([&]() { read_case<3>(folder / "d.npz", 1); },
                   {"'" + key + "'", "1 steps, expected 2"});
    }
  // Cells that are turned round take their columns along, in every step.
  for (const bool in_file : {false, true})
    {
      NpzArrays turned = joined;
      std::swap(turned["tetrahedra"].values[6], turned["tetrahedra"].values[7]);
      if (in_file)
        for (const std::string key : {"r_axis", "r_shear", "r_vol"})
          {
            const std::size_t rows = key == "r_vol" ? 1 : 3;
            for (std::size_t s = 0; s < 2; ++s)
              for (std::size_t r = 0; r < rows; ++r)
                {
                  const auto row =
                    turned[key].values.begin() + ((s * 2 + 1) * rows + r) * 12;
                  std::swap_ranges(row + 6, row + 9, row + 9);
                }
          }
      write_npz(folder / "d.npz", turned);
      if (!in_file)
        {
          expect_error([&]() { read_case<3>(folder / "d.npz", 1); },
                       {"cell 1 in step 0"});
          continue;
        }
      data = read_case<3>(folder / "d.npz", 1);
      check_and_repair(data, true);
      for (const std::string key : {"r_axis", "r_shear", "r_vol"})
        EXPECT_EQ(data.arrays[key].values, joined[key].values) << key;
    }
}



// Text and objects beside the arrays of a pack: noted, and refused where they
// stand for an array that packs have.
TEST(CasePack, MoreThanNumbers)
{
  Folder            folder;
  const std::string file = folder / "a.npz";
  const auto        add  = [&](const std::string &key,
                       const std::string &descr,
                       const std::string &shape,
                       const std::string &data) {
    std::string header = "{'descr': '" + descr +
                         "', 'fortran_order': False, 'shape': " + shape + "}\n";
    std::string member("\x93NUMPY\x01\x00", 8);
    member += static_cast<char>(header.size());
    member += '\0';
    member += header + data;
    int    code    = 0;
    zip_t *archive = zip_open(file.c_str(), 0, &code);
    ASSERT_NE(archive, nullptr);
    zip_file_add(archive,
                 (key + ".npy").c_str(),
                 zip_source_buffer(archive, member.data(), member.size(), 0),
                 0);
    ASSERT_EQ(zip_close(archive), 0);
  };
  write_npz(file, pack(1));
  add("case_id", "<U7", "()", std::string(28, 'x'));
  add("spacing", "<f2", "(3,)", std::string(6, '\0'));
  add("meta", "|O", "()", "pickle");
  const auto notes = notes_of(read_case<3>(file, 1));
  for (const char *key : {"'case_id'", "'spacing'", "'meta'"})
    EXPECT_NE(notes.find(key), std::string::npos) << notes;
  expect_error([&]() { read_npz(file); }, {"'case_id'", "string array"});
  for (const char *key : {"labels", "alpha_k", "mass"})
    {
      write_npz(file, pack(1));
      add(key, "<U7", "()", std::string(28, 'x'));
      expect_error([&]() { read_case<3>(file, 1); },
                   {std::string("'") + key + "'", "string array"});
    }
}
