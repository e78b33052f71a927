#include <deal.II/base/data_out_base.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/output/vtu.h>
#include <palpate/output/vtu_grid.h>

#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    std::string
    piece_name(const std::string &name,
               const unsigned int rank,
               const unsigned int n_ranks)
    {
      return n_ranks == 1
               ? name + ".vtu"
               : name + "." + Utilities::int_to_string(rank, 4) + ".vtu";
    }

    /// name.vtu, or one piece per rank and name.pvtu.
    std::string
    write_pieces(const std::string &directory,
                 const std::string &name,
                 const VtuGrid     &out,
                 const MPI_Comm    &comm)
    {
      const unsigned int rank    = Utilities::MPI::this_mpi_process(comm);
      const unsigned int n_ranks = Utilities::MPI::n_mpi_processes(comm);
      std::string        message;
      try
        {
          std::ostringstream text;
          out.write_vtu(text);
          write_file(directory + "/" + piece_name(name, rank, n_ranks),
                     text.str());
        }
      catch (const Error &e)
        {
          message = e.what();
        }
      for (const auto &m : Utilities::MPI::all_gather(comm, message))
        if (!m.empty())
          throw ComputationError(m);
      if (n_ranks == 1)
        return name + ".vtu";
      run_on_root(comm, [&]() {
        std::vector<std::string> pieces;
        for (unsigned int r = 0; r < n_ranks; ++r)
          pieces.push_back(piece_name(name, r, n_ranks));
        std::ostringstream text;
        out.write_pvtu(text, pieces);
        write_file(directory + "/" + name + ".pvtu", text.str());
      });
      return name + ".pvtu";
    }
  } // namespace

  std::vector<std::string>
  piece_names(const std::string &name, const MPI_Comm &comm)
  {
    return {piece_name(name,
                       Utilities::MPI::this_mpi_process(comm),
                       Utilities::MPI::n_mpi_processes(comm)),
            name + ".pvtu"};
  }

  namespace
  {
    constexpr unsigned int no_index = static_cast<unsigned int>(-1);

    /// The vertices of a rank's cells, or of springs its nodes, as points.
    template <int dim>
    class BodyGrid : public VtuGrid
    {
    public:
      /// @param as_points the vertices alone, every one a cell
      BodyGrid(const Discretization<dim> &D,
               const VtuData<dim>        &data,
               const bool                 as_points)
        : VtuGrid(as_points        ? Shape::vertex
                  : D.is_network() ? Shape::line
                  : dim == 2       ? Shape::triangle
                                   : Shape::tetrahedron)
      {
        if (as_points)
          add_vertices(D);
        else
          add_cells(D);
        for (const auto &[title, vector] : data.nodal)
          add_vectors(title, ghosted_copy(vector));
        for (const auto &[title, values] : data.nodal_scalars)
          add_scalars(title, D, values);
        if (as_points)
          return;
        for (const auto &[title, values] : data.cell)
          add_cell_array(title, values);
        for (const auto &[title, values] : data.cell_vectors)
          {
            std::vector<double> flat;
            for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
              for (unsigned int d = 0; d < dim; ++d)
                flat.push_back(values[k][d]);
            add_cell_array(title, flat, dim);
          }
      }

    private:
      void
      add_vertices(const Discretization<dim> &D)
      {
        for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
          {
            add_point(D.node_position(n));
            add_corner(n);
            nodes.push_back(n);
          }
      }

      void
      add_cells(const Discretization<dim> &D)
      {
        const unsigned int        n_corners = D.is_network() ? 2 : dim + 1;
        std::vector<unsigned int> point_of(D.n_nodes(), no_index);
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          for (unsigned int a = 0; a < n_corners; ++a)
            {
              const unsigned int n = D.cell_nodes[k * D.nodes_per_cell + a];
              if (point_of[n] == no_index)
                {
                  point_of[n] = n_points();
                  add_point(D.node_position(n));
                  nodes.push_back(n);
                }
              add_corner(point_of[n]);
            }
      }

      void
      add_vectors(const std::string &title, const Vector &vector)
      {
        std::vector<double> flat;
        for (const unsigned int n : nodes)
          for (unsigned int d = 0; d < dim; ++d)
            flat.push_back(vector.local_element(n * dim + d));
        add_point_array(title, flat, dim);
      }

      /// @param values of the owned nodes
      void
      add_scalars(const std::string         &title,
                  const Discretization<dim> &D,
                  const std::vector<double> &values)
      {
        Field field(D.n_nodes());
        field.place = Place::vertices;
        std::copy_n(values.begin(), D.n_owned_nodes(), field.values.begin());
        D.update_ghosts(field);
        std::vector<double> here;
        for (const unsigned int n : nodes)
          here.push_back(field[n]);
        add_point_array(title, here);
      }

      std::vector<unsigned int> nodes; ///< of the points
    };
  } // namespace

  template <int dim>
  std::string
  write_points(const std::string         &directory,
               const std::string         &name,
               const Discretization<dim> &D,
               const VtuData<dim>        &data)
  {
    return write_pieces(directory, name, BodyGrid<dim>(D, data, true), D.comm);
  }

  template <int dim>
  std::string
  write_vtu(const std::string         &directory,
            const std::string         &name,
            const Discretization<dim> &D,
            const VtuData<dim>        &data)
  {
    return write_pieces(directory, name, BodyGrid<dim>(D, data, false), D.comm);
  }

  template <int dim>
  std::string
  write_lines(const std::string   &directory,
              const std::string   &name,
              const LineData<dim> &lines,
              const MPI_Comm      &comm)
  {
    VtuGrid             grid(VtuGrid::Shape::line);
    std::vector<double> displacement;
    for (std::size_t i = 0; i < lines.points.size(); ++i)
      for (unsigned int end = 0; end < 2; ++end)
        {
          grid.add_corner(grid.n_points());
          grid.add_point(lines.points[i][end]);
          for (unsigned int d = 0; d < dim; ++d)
            displacement.push_back(lines.displacements[i][end][d]);
        }
    grid.add_point_array("displacement", displacement, dim);
    for (const auto &[title, values] : lines.values)
      grid.add_cell_array(title, values);
    return write_pieces(directory, name, grid, comm);
  }

  void
  write_pvd(const std::string                                 &directory,
            const std::string                                 &name,
            const std::vector<std::pair<double, std::string>> &times_and_files,
            const MPI_Comm                                    &comm)
  {
    run_on_root(comm, [&]() {
      std::ostringstream text;
      DataOutBase::write_pvd_record(text, times_and_files);
      write_file(directory + "/" + name + ".pvd", text.str());
    });
  }

  template std::string
  write_vtu(const std::string &,
            const std::string &,
            const Discretization<2> &,
            const VtuData<2> &);
  template std::string
  write_vtu(const std::string &,
            const std::string &,
            const Discretization<3> &,
            const VtuData<3> &);
  template std::string
  write_points(const std::string &,
               const std::string &,
               const Discretization<2> &,
               const VtuData<2> &);
  template std::string
  write_points(const std::string &,
               const std::string &,
               const Discretization<3> &,
               const VtuData<3> &);
  template std::string
  write_lines(const std::string &,
              const std::string &,
              const LineData<2> &,
              const MPI_Comm &);
  template std::string
  write_lines(const std::string &,
              const std::string &,
              const LineData<3> &,
              const MPI_Comm &);
} // namespace Palpate
